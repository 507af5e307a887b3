package zookeeper

import "reflect"

// Host is the server that the session is with; "" if there is none.
func (s *Store) Host() string {
	if session := s.current(); session != nil {
		return session.host
	}
	return ""
}

// Watchers is how many channels the library keeps for watches. Nothing may change while
// they are counted.
func (s *Store) Watchers() (n int) {
	all := reflect.ValueOf(s.current().client).Elem().FieldByName("watchers").MapRange()
	for all.Next() {
		n += all.Value().Len()
	}
	return n
}

func (s *Store) current() *session {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.last == nil {
		return nil
	}
	<-s.last.done
	return s.last.session
}

// SessionID is that of the session.
func (s *Store) SessionID() int64 { return s.current().client.SessionID() }
