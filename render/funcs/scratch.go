package funcs

import (
	"fmt"
	"maps"
	"slices"
)

// Scratch keeps values from one part of a template to another, for the length
// of one execution. What sets a value yields no text.
type Scratch struct{ values map[string]any }

// Key says whether a value has the name.
func (s *Scratch) Key(name string) bool {
	_, has := s.values[name]
	return has
}

// Get returns a value, or nil.
func (s *Scratch) Get(name string) any { return s.values[name] }

// Set gives a value its name.
func (s *Scratch) Set(name string, value any) string {
	s.make()
	s.values[name] = value
	return ""
}

// SetX does so unless there is one of that name.
func (s *Scratch) SetX(name string, value any) string {
	if !s.Key(name) {
		s.Set(name, value)
	}
	return ""
}

// MapSet puts a value into a map, which is made if there is none.
func (s *Scratch) MapSet(name, key string, value any) (string, error) {
	m, err := s.dict(name)
	if err == nil {
		m[key] = value
	}
	return "", err
}

// MapSetX does so unless the map has the key.
func (s *Scratch) MapSetX(name, key string, value any) (string, error) {
	m, err := s.dict(name)
	if _, has := m[key]; err == nil && !has {
		m[key] = value
	}
	return "", err
}

// MapValues lists the values of a map, in the order of their keys.
func (s *Scratch) MapValues(name string) []any {
	m, is := s.values[name].(map[string]any)
	if !is {
		return nil
	}
	list := make([]any, 0, len(m))
	for _, key := range slices.Sorted(maps.Keys(m)) {
		list = append(list, m[key])
	}
	return list
}

func (s *Scratch) dict(name string) (map[string]any, error) {
	s.make()
	if !s.Key(name) {
		s.values[name] = map[string]any{}
	}
	m, is := s.values[name].(map[string]any)
	if !is {
		return nil, fmt.Errorf("scratch: %q is no map but a %T", name, s.values[name])
	}
	return m, nil
}

func (s *Scratch) make() {
	if s.values == nil {
		s.values = map[string]any{}
	}
}
