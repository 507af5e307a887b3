package funcs

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"text/template"

	"dario.cat/mergo"

	"github.com/pgbaton/pgbaton/watcher"
)

func groups() template.FuncMap {
	return template.FuncMap{
		"byKey": byKey, "byTag": byTag, "byPort": byPort, "byMeta": byMeta,
		"mergeMap": func(into, from map[string]any, options ...func(*mergo.Config)) (map[string]any, error) {
			return merge(into, from, options...)
		},
		"mergeMapWithOverride": func(into, from map[string]any) (map[string]any, error) {
			return merge(into, from, mergo.WithOverride)
		},
		"explode": func(pairs []watcher.Pair) (map[string]any, error) {
			out := map[string]any{}
			for _, p := range pairs {
				if err := nest(out, p.Key, p.Value); err != nil {
					return nil, fmt.Errorf("explode: %w", err)
				}
			}
			return out, nil
		},
		"explodeMap": func(in map[string]any) (map[string]any, error) {
			out := map[string]any{}
			for _, path := range slices.Sorted(maps.Keys(in)) {
				if err := nest(out, path, in[path]); err != nil {
					return nil, fmt.Errorf("explodeMap: %w", err)
				}
			}
			return out, nil
		},
	}
}

// merge adds to a map what another has and it lacks, deeply.
func merge(into, from map[string]any, options ...func(*mergo.Config)) (map[string]any, error) {
	err := mergo.Map(&into, from, options...)
	return into, err
}

// byKey groups pairs by the first part of their keys.
func byKey(pairs []watcher.Pair) map[string]map[string]watcher.Pair {
	out := map[string]map[string]watcher.Pair{}
	for _, p := range pairs {
		top, rest, _ := strings.Cut(p.Key, "/")
		if rest == "" {
			continue
		}
		if out[top] == nil {
			out[top] = map[string]watcher.Pair{}
		}
		p.Key = rest
		out[top][rest] = p
	}
	return out
}

// byTag groups services or instances by each of their tags.
func byTag(in any) (map[string][]any, error) {
	out := map[string][]any{}
	switch list := in.(type) {
	case nil:
	case []*watcher.Instance:
		for _, i := range list {
			for _, tag := range i.Tags {
				out[tag] = append(out[tag], i)
			}
		}
	case []*watcher.CatalogService:
		for _, s := range list {
			for _, tag := range s.Tags {
				out[tag] = append(out[tag], s)
			}
		}
	default:
		return nil, fmt.Errorf("byTag: want services or instances, have %T", in)
	}
	return out, nil
}

func byPort(in any) (map[int][]any, error) {
	out := map[int][]any{}
	switch list := in.(type) {
	case nil:
	case []*watcher.Instance:
		for _, i := range list {
			out[i.Port] = append(out[i.Port], i)
		}
	default:
		return nil, fmt.Errorf("byPort: want instances, have %T", in)
	}
	return out, nil
}

// byMeta groups instances by the values of metadata keys, a comma-separated
// list; "name|int" pads a number so that groups sort by it.
func byMeta(names string, list []*watcher.Instance) (map[string][]*watcher.Instance, error) {
	out := map[string][]*watcher.Instance{}
	for _, i := range list {
		var parts []string
		for _, name := range strings.Split(names, ",") {
			plain, isInt := strings.CutSuffix(name, "|int")
			value := i.ServiceMeta[plain]
			switch {
			case isInt:
				if value == "" {
					value = "0"
				}
				n, err := strconv.Atoi(value)
				if err != nil {
					return nil, fmt.Errorf("byMeta: %s of %s is %q, no number", plain, i.ID, value)
				}
				value = fmt.Sprintf("%05d", n)
			case value == "":
				value = "_no_" + plain + "_"
			}
			parts = append(parts, plainWord(value))
		}
		group := strings.Join(parts, "_")
		out[group] = append(out[group], i)
	}
	return out, nil
}

// nest puts value at a path of slashes, making the maps on its way.
func nest(m map[string]any, path string, value any) error {
	parts := strings.Split(path, "/")
	for _, part := range parts[:len(parts)-1] {
		next, ok := m[part].(map[string]any)
		if !ok {
			if _, taken := m[part]; taken {
				return fmt.Errorf("%s is a value and a folder at once in %s", part, path)
			}
			next = map[string]any{}
			m[part] = next
		}
		m = next
	}
	if last := parts[len(parts)-1]; last != "" {
		m[last] = value
	}
	return nil
}
