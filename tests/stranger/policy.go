package main

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/binary"
	"fmt"
	"strconv"
	"strings"

	"golang.org/x/mod/sumdb/note"
	"golang.org/x/mod/sumdb/tlog"
)

// Whom the reader trusts, from a C2SP tlog-policy of one log and one group of witnesses.
type policy struct {
	log       note.Verifier
	witnesses []note.Verifier
	quorum    int
}

func readPolicy(path string) policy {
	return parsePolicy(string(read(path)))
}

func parsePolicy(text string) policy {
	var trusted policy
	for _, line := range strings.Split(text, "\n") {
		fields := strings.Fields(line)
		switch {
		case len(fields) >= 2 && fields[0] == "log":
			verifier, err := note.NewVerifier(fields[1])
			must(err, "the policy's log key")
			trusted.log = verifier
		case len(fields) >= 3 && fields[0] == "witness":
			trusted.witnesses = append(trusted.witnesses, newCosigner(fields[2]))
		case len(fields) >= 3 && fields[0] == "group":
			quorum, err := strconv.Atoi(fields[2])
			must(err, "the policy's group")
			trusted.quorum = quorum
		}
	}
	if trusted.log == nil || trusted.quorum < 1 || trusted.quorum > len(trusted.witnesses) {
		fail("the policy names no log, or no group of its witnesses")
	}
	return trusted
}

// Opens a signed note: the log's signature, a quorum of cosigners, and three lines of text.
func (p policy) open(text []byte) (tlog.Tree, int, error) {
	var tree tlog.Tree
	known := note.VerifierList(append([]note.Verifier{p.log}, p.witnesses...)...)
	opened, err := note.Open(text, known)
	if err != nil {
		return tree, 0, err
	}
	cosigners := 0
	signedByLog := false
	for _, signature := range opened.Sigs {
		if signature.Name == p.log.Name() && signature.Hash == p.log.KeyHash() {
			signedByLog = true
		} else {
			cosigners++
		}
	}
	if !signedByLog || cosigners < p.quorum {
		return tree, 0, fmt.Errorf("signed by the log: %v; cosigners: %d", signedByLog, cosigners)
	}
	tree, err = parseTree(opened.Text, p.log.Name())
	return tree, cosigners, err
}

func parseTree(text, origin string) (tree tlog.Tree, err error) {
	lines := strings.Split(text, "\n")
	if len(lines) != 4 || lines[0] != origin || lines[3] != "" {
		return tree, fmt.Errorf("expected origin, size, root; got %q", text)
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

// A witness: C2SP cosignature/v1, which Go's note package leaves to its callers.
type cosigner struct {
	name string
	hash uint32
	key  ed25519.PublicKey
}

const typeCosignatureV1 = 4

// A vkey is name+hash+base64(type | key); the hash is the head of SHA-256(name \n type | key).
func newCosigner(vkey string) note.Verifier {
	fields := strings.SplitN(vkey, "+", 3)
	if len(fields) != 3 {
		fail("expected name+hash+key, got " + vkey)
	}
	key, err := base64.StdEncoding.DecodeString(fields[2])
	must(err, vkey)
	if len(key) != 1+ed25519.PublicKeySize || key[0] != typeCosignatureV1 {
		fail("expected a cosignature/v1 key, got " + vkey)
	}
	digest := sha256.Sum256(append([]byte(fields[0]+"\n"), key...))
	hash := binary.BigEndian.Uint32(digest[:4])
	if fmt.Sprintf("%08x", hash) != fields[1] {
		fail("expected the key hash " + fmt.Sprintf("%08x", hash) + ", got " + vkey)
	}
	return &cosigner{name: fields[0], hash: hash, key: key[1:]}
}

func (c *cosigner) Name() string { return c.name }

func (c *cosigner) KeyHash() uint32 { return c.hash }

// The signature is u64 seconds | Ed25519 over the time and the checkpoint's text.
func (c *cosigner) Verify(text, signature []byte) bool {
	if len(c.key) != ed25519.PublicKeySize || len(signature) != 8+ed25519.SignatureSize {
		return false
	}
	seconds := binary.BigEndian.Uint64(signature)
	message := fmt.Sprintf("cosignature/v1\ntime %d\n%s", seconds, text)
	return ed25519.Verify(c.key, []byte(message), signature[8:])
}
