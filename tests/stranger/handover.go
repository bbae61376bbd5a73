package main

import (
	"fmt"
	"path/filepath"
	"strconv"
	"strings"
)

// Whom the reader trusts, from the policy it was given on.
type trust struct {
	first     policy
	handOvers []handOver
}

// One entry of the log's file `transitions`: a checkpoint that those before and those after it
// vouch for.
type handOver struct {
	size   int64
	note   string
	policy policy
}

// Each note must be opened by the policy before it and by the policy it leads to; the last one is
// the log's own.
func followHandOvers(first policy, log string) trust {
	trusted := trust{first: first}
	rest, found := strings.CutPrefix(string(read(filepath.Join(log, "transitions"))),
		"proofmark/transitions/v1\n")
	if !found {
		fail("transitions: expected its first line")
	}
	last := ""
	for rest != "" {
		note := takePart(&rest, "note ")
		last = takePart(&rest, "policy ")
		next := handOver{note: note, policy: parsePolicy(last)}
		tree, _, err := trusted.now().open([]byte(note))
		must(err, "a hand-over, by those before it")
		_, _, err = next.policy.open([]byte(note))
		must(err, "a hand-over, by those after it")
		if next.policy.log.Name() != first.log.Name() || tree.N <= trusted.newest() {
			fail(fmt.Sprintf("a hand-over of another log, or out of order, at %d", tree.N))
		}
		next.size = tree.N
		trusted.handOvers = append(trusted.handOvers, next)
	}
	if last != string(read(filepath.Join(log, "policy"))) {
		fail("the log's policy is not the one that the hand-overs lead to")
	}
	return trusted
}

// `<word><length>`, then so many bytes.
func takePart(rest *string, word string) string {
	line, after, _ := strings.Cut(*rest, "\n")
	digits, found := strings.CutPrefix(line, word)
	length, err := strconv.Atoi(digits)
	if !found || err != nil || length < 0 || length > len(after) {
		fail("transitions: expected " + word + "and a length, got " + line)
	}
	*rest = after[length:]
	return after[:length]
}

func (t trust) now() policy { return t.at(1<<63 - 1) }

// The policy in force for a checkpoint of this size.
func (t trust) at(size int64) policy {
	inForce := t.first
	for _, next := range t.handOvers {
		if next.size <= size {
			inForce = next.policy
		}
	}
	return inForce
}

func (t trust) newest() int64 {
	if len(t.handOvers) == 0 {
		return 0
	}
	return t.handOvers[len(t.handOvers)-1].size
}

// The first policy knows nobody who signed last, and a hand-over that only one side signed is none.
func (t trust) expectRefusals(newest []byte) int {
	if _, _, err := t.first.open(newest); err == nil {
		fail("the first policy accepts the newest checkpoint: no node was replaced")
	}
	count := 1
	for _, next := range t.handOvers {
		before := t.at(next.size - 1)
		for _, side := range []struct{ signs, asks policy }{
			{before, next.policy},
			{next.policy, before},
		} {
			note := signedBy(next.note, side.signs, side.asks)
			if _, _, err := side.signs.open(note); err != nil {
				fail("a quorum of one side is none: " + err.Error())
			}
			if _, _, err := side.asks.open(note); err == nil {
				fail(fmt.Sprintf("the hand-over at %d needs only one side", next.size))
			}
			count++
		}
	}
	return count
}

// The note with no more signatures than one side needs, strangers to the other side first.
func signedBy(text string, side, other policy) []byte {
	signed, signatures, _ := strings.Cut(text, "\n\n")
	own, strangers, shared := "", []string{}, []string{}
	for _, line := range strings.SplitAfter(strings.TrimSuffix(signatures, "\n"), "\n") {
		name := strings.Fields(line)[1] // "— name signature"
		line = strings.TrimSuffix(line, "\n") + "\n"
		switch {
		case name == side.log.Name():
			own = line
		case side.knows(name) && !other.knows(name):
			strangers = append(strangers, line)
		case side.knows(name):
			shared = append(shared, line)
		}
	}
	enough := append(strangers, shared...)[:side.quorum]
	return []byte(signed + "\n\n" + own + strings.Join(enough, ""))
}

func (p policy) knows(name string) bool {
	for _, witness := range p.witnesses {
		if witness.Name() == name {
			return true
		}
	}
	return false
}
