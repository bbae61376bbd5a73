package main

import (
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/mod/sumdb/tlog"
)

// tiles reads C2SP paths: Go's own, without the height it puts first. It can damage one of them.
type tiles struct {
	dir    string
	path   string
	damage func([]byte) []byte
	seen   map[string]bool
}

func (t *tiles) Height() int { return 8 }

func (t *tiles) SaveTiles([]tlog.Tile, [][]byte) {}

func (t *tiles) ReadTiles(wanted []tlog.Tile) ([][]byte, error) {
	if t.seen == nil {
		t.seen = map[string]bool{}
	}
	var all [][]byte
	for _, tile := range wanted {
		path := "tile/" + strings.TrimPrefix(tile.Path(), "tile/8/")
		data, err := os.ReadFile(filepath.Join(t.dir, path))
		if err != nil {
			return nil, err
		}
		if path == t.path {
			data = t.damage(data)
		}
		t.seen[path] = true
		all = append(all, data)
	}
	return all, nil
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
	if len(bundles[path]) != tile.W {
		fail(path + " holds another number of entries than its name says")
	}
	return bundles[path][index%256]
}

func split(bundle []byte) [][]byte {
	var entries [][]byte
	for len(bundle) > 0 {
		if len(bundle) < 2 || len(bundle) < 2+int(binary.BigEndian.Uint16(bundle)) {
			fail("a bundle ends inside an entry")
		}
		end := 2 + int(binary.BigEndian.Uint16(bundle))
		entries = append(entries, bundle[2:end:end])
		bundle = bundle[end:]
	}
	return entries
}
