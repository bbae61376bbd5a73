// A stranger's check of a Proofmark log, with Go's own transparency-log packages.
//
// It knows the C2SP formats and nothing of Proofmark: it opens the checkpoint under the log key
// that the policy names, counts the cosigners, then proves every leaf and every older checkpoint
// from the tiles. The policy it begins with names nodes that are long gone: it follows each hand-over
// from those it knows to those that came. Then it damages what it has just proven and expects to be
// refused.
//
//	stranger DIR        DIR holds log/ (a copy of the evidence directory), older/ (notes) and
//	                    first-policy (whom the reader trusted first)
package main

import (
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

func main() {
	if len(os.Args) != 2 {
		fail("usage: stranger DIR")
	}
	dir := os.Args[1]
	log := filepath.Join(dir, "log")
	trusted := followHandOvers(readPolicy(filepath.Join(dir, "first-policy")), log)
	policy := trusted.now()
	text := read(filepath.Join(log, "checkpoint"))
	tree, cosigners, err := policy.open(text)
	must(err, "the checkpoint")
	source := &tiles{dir: log}
	hashes := tlog.TileHashReader(tree, source)
	leaves := checkInclusion(log, tree, hashes)
	older := checkConsistency(filepath.Join(dir, "older"), trusted, tree, hashes)
	refused := expectRefusals(text, policy, tree, source) + trusted.expectRefusals(text)
	fmt.Printf("stranger: checkpoint of size %d opened as %s, cosigned by %d of %d\n",
		tree.N, policy.log.Name(), cosigners, len(policy.witnesses))
	fmt.Printf("stranger: %d hand-overs lead there from the first policy\n", len(trusted.handOvers))
	fmt.Printf("stranger: %d inclusions and %d consistencies hold, %d damages refused\n",
		leaves, older, refused)
}

// Every leaf is in the tree; the same leaf with one bit changed is not.
func checkInclusion(log string, tree tlog.Tree, hashes tlog.HashReader) int {
	for index := int64(0); index < tree.N; index++ {
		leaf := leafBytes(log, tree.N, index)
		proof, err := tlog.ProveRecord(tree.N, index, hashes)
		must(err, fmt.Sprintf("prove leaf %d", index))
		err = tlog.CheckRecord(proof, tree.N, tree.Hash, index, tlog.RecordHash(leaf))
		must(err, fmt.Sprintf("check leaf %d", index))
		changed := tlog.RecordHash(flipped(leaf, int(index)%len(leaf)))
		if tlog.CheckRecord(proof, tree.N, tree.Hash, index, changed) == nil {
			fail(fmt.Sprintf("leaf %d was accepted with a changed bit", index))
		}
	}
	return int(tree.N)
}

// Every older checkpoint is the beginning of this tree; one with another root is not.
func checkConsistency(dir string, trusted trust, tree tlog.Tree, hashes tlog.HashReader) int {
	notes, err := os.ReadDir(dir)
	must(err, dir)
	for _, entry := range notes {
		size, err := strconv.ParseInt(entry.Name(), 10, 64)
		must(err, "the size in the name of "+entry.Name())
		old, _, err := trusted.at(size).open(read(filepath.Join(dir, entry.Name())))
		must(err, entry.Name())
		if old.N >= tree.N {
			fail(fmt.Sprintf("%s: expected a size below %d, got %d", entry.Name(), tree.N, old.N))
		}
		proof, err := tlog.ProveTree(tree.N, old.N, hashes)
		must(err, fmt.Sprintf("prove consistency %d to %d", old.N, tree.N))
		must(tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash), entry.Name())
		old.Hash[0] ^= 1
		if tlog.CheckTree(proof, tree.N, tree.Hash, old.N, old.Hash) == nil {
			fail(fmt.Sprintf("another root of size %d was accepted", old.N))
		}
	}
	if len(notes) == 0 {
		fail("no older checkpoint to be consistent with")
	}
	return len(notes)
}

// The stranger's tools must also say no. Returns how many damages were refused.
func expectRefusals(text []byte, policy policy, tree tlog.Tree, source *tiles) int {
	notes := damagedNotes(string(text))
	for what, damaged := range notes {
		if _, _, err := policy.open([]byte(damaged)); err == nil {
			fail("a checkpoint was accepted with " + what)
		}
	}
	count := len(notes)
	for path := range source.seen {
		for _, damage := range []func([]byte) []byte{flipFirst, flipLast, cutLast} {
			damaged := &tiles{dir: source.dir, path: path, damage: damage}
			if allProven(tree, tlog.TileHashReader(tree, damaged)) {
				fail(path + " was accepted although it was damaged")
			}
			count++
		}
	}
	return count
}

// Each byte of the signed text changed, each signature changed, the quorum and the log missing.
func damagedNotes(text string) map[string]string {
	notes := map[string]string{}
	signed, signatures, _ := strings.Cut(text, "\n\n")
	for at := range signed {
		changed := string(flipped([]byte(signed), at))
		notes[fmt.Sprintf("byte %d changed", at)] = changed + "\n\n" + signatures
	}
	lines := strings.SplitAfter(strings.TrimSuffix(signatures, "\n"), "\n")
	for at, line := range lines {
		changed := string(flipped([]byte(text), strings.Index(text, line)+len(line)/2+20))
		notes[fmt.Sprintf("signature %d changed", at)] = changed
	}
	notes["one cosigner"] = signed + "\n\n" + lines[0] + lines[1]
	notes["no log signature"] = signed + "\n\n" + strings.Join(lines[1:], "") + "\n"
	return notes
}

func allProven(tree tlog.Tree, hashes tlog.HashReader) bool {
	for index := int64(0); index < tree.N; index++ {
		if _, err := tlog.ProveRecord(tree.N, index, hashes); err != nil {
			return false
		}
	}
	return true
}

func flipped(bytes []byte, at int) []byte {
	changed := append([]byte(nil), bytes...)
	changed[at] ^= 1
	return changed
}

func flipFirst(tile []byte) []byte { return flipped(tile, 0) }
func flipLast(tile []byte) []byte  { return flipped(tile, len(tile)-1) }
func cutLast(tile []byte) []byte   { return tile[:len(tile)-1] }

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
