package keepalived

import (
	"fmt"
	"os"
	"slices"
	"strings"
)

// Present is what the first vrrp_instance of a config says, whoever wrote it.
type Present struct {
	Settings  map[string]string   // those of one word, by name: interface, priority, state …; nopreempt without one
	Lists     map[string][]string // virtual_ipaddress and unicast_peer: a line each
	Secret    bool                // it has an auth_pass, which is not among them
	Instances int                 // how many there are
}

// Read reads a config. Of what it includes it knows nothing.
func Read(path string) (Present, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return Present{}, fmt.Errorf("read keepalived's config: %w", err)
	}
	p := Present{Settings: map[string]string{}, Lists: map[string][]string{}}
	var open []string // the blocks that are open, by their first word
	for line := range strings.Lines(string(text)) {
		if i := strings.IndexAny(line, "#!"); i >= 0 {
			line = line[:i]
		}
		line = strings.NewReplacer("{", " { ", "}", " } ").Replace(line)
		var words []string
		for _, word := range strings.Fields(line) {
			switch word {
			case "{":
				name := ""
				if len(words) > 0 {
					name = words[0]
				}
				if name == "vrrp_instance" {
					p.Instances++
				}
				open, words = append(open, name), nil
			case "}":
				p.take(open, words)
				open, words = open[:max(0, len(open)-1)], nil
			default:
				words = append(words, word)
			}
		}
		p.take(open, words)
	}
	return p, nil
}

// take takes a line that stands in open blocks.
func (p *Present) take(open, words []string) {
	if len(words) == 0 || p.Instances != 1 || len(open) == 0 || open[0] != "vrrp_instance" {
		return
	}
	inner := open[len(open)-1]
	switch {
	case len(open) == 1:
		p.Settings[words[0]] = strings.Join(words[1:], " ")
	case inner == "authentication" && words[0] == "auth_pass":
		p.Secret = true
	case slices.Contains([]string{"virtual_ipaddress", "unicast_peer"}, inner):
		p.Lists[inner] = append(p.Lists[inner], strings.Join(words, " "))
	}
}
