package pgpool

import (
	"context"
	"fmt"
	"strings"

	"github.com/pgbaton/pgbaton/internal/hint"
	"github.com/pgbaton/pgbaton/reload"
)

// Verify implements reload.Verifier: pgpool shows the backends and the settings of the file.
func (d *daemon) Verify(ctx context.Context, committed []reload.File, _ reload.Mark) (reload.Mark, error) {
	s, err := read(committed)
	if err != nil {
		return reload.Mark{}, err
	}
	nodes, err := d.pcp.nodes(ctx)
	if err != nil {
		return reload.Mark{}, err
	}
	shown, err := d.pcp.settings(ctx)
	if err != nil {
		return reload.Mark{}, err
	}
	var differ []string
	add := func(text string) {
		if text != "" {
			differ = append(differ, text)
		}
	}
	add(s.misplaced(nodes))
	p := s.plan(nodes, nil)
	for _, step := range p.steps {
		add(fmt.Sprintf("backend %d at %s, and the file wants it otherwise", step.id, nodes[step.id]))
	}
	add(strings.Join(p.left, "; "))
	add(s.difference(shown, append(append([]string{}, onReload...), atStart...)))
	if len(differ) == 0 {
		add(s.weighs(nodes))
	}
	if len(differ) > 0 {
		return reload.Mark{}, hint.Wrap(fmt.Errorf("pgpool at %s: %s", d.pcp, strings.Join(differ, "; ")),
			"see its log, and whether it was started with this config file")
	}
	return reload.Mark{Proof: reload.Followed, How: "pcp_node_info and pcp_pool_status at " + d.pcp.String()}, nil
}
