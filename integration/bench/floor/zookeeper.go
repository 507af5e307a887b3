package main

import (
	"errors"
	"path/filepath"
	"time"

	"github.com/go-zookeeper/zk"
	"golang.org/x/sync/errgroup"
)

// inZooKeeper watches each key, and reads it again when its watch fires.
func inZooKeeper(at string, scopes []string, dir string, pid int) error {
	// Its session outlives the turns of the others, in which it stands still.
	client, _, err := zk.Connect([]string{at}, time.Minute, zk.WithLogInfo(false))
	if err != nil {
		return err
	}
	var g errgroup.Group
	for _, scope := range scopes {
		g.Go(func() error {
			key, destination := "/service/"+scope+"/leader", filepath.Join(dir, scope)
			for last := ""; ; {
				value, _, fired, err := client.GetW(key)
				if errors.Is(err, zk.ErrNoNode) {
					var there bool
					if there, _, fired, err = client.ExistsW(key); there {
						continue
					}
				}
				if err != nil {
					return err
				}
				if string(value) != "" && string(value) != last {
					last = string(value)
					if err := swap(destination, last, pid); err != nil {
						return err
					}
				}
				<-fired
			}
		})
	}
	return g.Wait()
}
