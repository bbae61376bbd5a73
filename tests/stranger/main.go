// A stranger's check of a Proofmark log, with Go's own transparency-log packages.
//
// It knows the C2SP formats and nothing of Proofmark: it opens the checkpoint under the log key
// that the policy names, then proves every leaf and every older checkpoint from the tiles.
//
//	stranger DIR        DIR holds log/ (a copy of the evidence directory) and older/ (notes)
package main

import (
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if len(os.Args) != 2 {
		fail("usage: stranger DIR")
	}
	dir := os.Args[1]
	log := filepath.Join(dir, "log")
	verifier := logVerifier(filepath.Join(log, "policy"))
	tree := openCheckpoint(filepath.Join(log, "checkpoint"), verifier)
	hashes := tlog.TileHashReader(tree, &tiles{log})
	leaves := checkInclusion(log, tree, hashes)
	older := checkConsistency(filepath.Join(dir, "older"), verifier, tree, hashes)
	checkTampering(log, verifier)
	fmt.Printf("stranger: checkpoint of size %d opened as %s; %d inclusions, %d consistencies\n",
		tree.N, verifier.Name(), leaves, older)
}

// The `log` line of a C2SP tlog-policy carries the log's verifier key.
func logVerifier(path string) note.Verifier {
	for _, line := range strings.Split(string(read(path)), "\n") {
		if fields := strings.Fields(line); len(fields) >= 2 && fields[0] == "log" {
			verifier, err := note.NewVerifier(fields[1])
			must(err, "the policy's log key")
			return verifier
		}
	}
	fail("the policy names no log")
	return nil
}

func openCheckpoint(path string, verifier note.Verifier) tlog.Tree {
	tree, err := parseCheckpoint(read(path), verifier)
	must(err, path)
	return tree
}

func parseCheckpoint(text []byte, verifier note.Verifier) (tlog.Tree, error) {
	var tree tlog.Tree
	opened, err := note.Open(text, note.VerifierList(verifier))
	if err != nil {
		return tree, err
	}
	lines := strings.Split(opened.Text, "\n")
	if len(lines) != 4 || lines[0] != verifier.Name() || lines[3] != "" {
		return tree, fmt.Errorf("expected origin, size, root; got %q", opened.Text)
	}
	if tree.N, err = strconv.ParseInt(lines[1], 10, 64); err != nil {
		return tree, err
	}
	root, err := base64.StdEncoding.DecodeString(lines[2])
	if err != nil || len(root) != len(tree.Hash) {
		return tree, fmt.Errorf("expected a root of 32 bytes, got %q", lines[2])
	}
	copy(tree.Hash[:], root)
	return tree, nil
}

// tiles reads C2SP paths: Go's own, without the height it puts first.
type tiles struct{ dir string }

func (t *tiles) Height() int { return 8 }

func (t *tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t *tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	var all [][]byte
	for _, tile := range wanted {
		path := "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
		data, err := os.ReadFile(filepath.Join(t.dir, path))
		if err != nil {
			return nil, err
		}
		all = append(all, data)
	}
	return all, nil
}

func checkInclusion(log string, tree tlog.Tree, hashes tlog.HashReader) int {
	for index := int64(0); index < tree.N; index++ {
		leaf := leafBytes(log, tree.N, index)
		proof, err := tlog.ProveRecord(tree.N, index, hashes)
		must(err, fmt.Sprintf("prove leaf %d", index))
		err = tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(leaf))
		must(err, fmt.Sprintf("check leaf %d", index))
		if tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(append(leaf, 0))) == nil {
			fail("a changed leaf was accepted")
		}
	}
	return int(tree.N)
}

var bundles = map[string][][]byte{}

// Entry bundles lie beside the tiles: repeated big-endian u16 length and bytes.
func leafBytes(log string, size, index int64) []byte {
	tile := tlog.Tile{H: 8, L: 0, N: index / 256, W: 256}
	if rest := size - tile.N*256; rest < 256 {
		tile.W = int(rest)
	}
	path := "tile/entries/" + strings.TrimPrefix(tile.Path(), "tile/8/0/")
	if bundles[path] == nil {
		bundles[path] = split(read(filepath.Join(log, path)))
	}
	return bundles[path][index%256]
}

func split(bundle []byte) [][]byte {
	var entries [][]byte
	for len(bundle) >= 2 {
		length := int(binary.BigEndian.Uint16(bundle))
		if len(bundle) < 2+length {
			fail("a bundle ends inside an entry")
		}
		entries = append(entries, bundle[2:2+length:2+length])
		bundle = bundle[2+length:]
	}
	return entries
}

func checkConsistency(dir string, v note.Verifier, tree tlog.Tree, hashes tlog.HashReader) int {
	notes, err := os.ReadDir(dir)
	must(err, dir)
	for _, entry := range notes {
		old := openCheckpoint(filepath.Join(dir, entry.Name()), v)
		proof, err := tlog.ProveTree(tree.N, old.N, hashes)
		must(err, fmt.Sprintf("prove consistency %d to %d", old.N, tree.N))
		err = tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash)
		must(err, fmt.Sprintf("check consistency %d to %d", old.N, tree.N))
	}
	if len(notes) == 0 {
		fail("no older checkpoint to be consistent with")
	}
	return len(notes)
}

// The stranger's tools must also say no: a checkpoint with another size is not the log's word.
func checkTampering(log string, verifier note.Verifier) {
	text := string(read(filepath.Join(log, "checkpoint")))
	lines := strings.SplitN(text, "\n", 3)
	changed := lines[0] + "\n" + lines[1] + "0\n" + lines[2]
	if _, err := parseCheckpoint([]byte(changed), verifier); err == nil {
		fail("a changed checkpoint was accepted")
	}
}

func read(path string) []byte {
	data, err := os.ReadFile(path)
	must(err, path)
	return data
}

func must(err error, what string) {
	if err != nil {
		fail(what + ": " + err.Error())
	}
}

func fail(why string) {
	fmt.Fprintln(os.Stderr, "stranger: "+why)
	os.Exit(1)
}
