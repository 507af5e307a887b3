// Command floor is the least that can be done when a leader key changes: a
// blocking query for each key, a file, a rename, a signal. It checks nothing
// and recovers from nothing: it is what the others are measured against. With
// SYNC=1 in its environment it also syncs the file before the rename, as
// whoever wants a whole file after a power loss must.
package main

import (
	"encoding/json"
	"fmt"
	"log"
	"net/http"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
)

// floor STORE PID DIR SCOPE..., where the store is Consul's HOST:PORT, or etcd:// or
// zookeeper:// and its HOST:PORT
func main() {
	consul, dir, scopes := os.Args[1], os.Args[3], os.Args[4:]
	pid, err := strconv.Atoi(os.Args[2])
	if err != nil {
		log.Fatal(err)
	}
	if at, is := strings.CutPrefix(consul, "etcd://"); is {
		log.Fatal(inEtcd(at, scopes, dir, pid))
	}
	if at, is := strings.CutPrefix(consul, "zookeeper://"); is {
		log.Fatal(inZooKeeper(at, scopes, dir, pid))
	}
	client := &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: len(scopes)}}
	var wg sync.WaitGroup
	for _, scope := range scopes {
		wg.Go(func() { log.Fatal(follow(client, consul, scope, filepath.Join(dir, scope), pid)) })
	}
	wg.Wait()
}

func follow(client *http.Client, consul, scope, destination string, pid int) error {
	var index, last string
	for {
		resp, err := client.Get("http://" + consul + "/v1/kv/service/" + scope + "/leader?wait=5m&index=" + index)
		if err != nil {
			return err
		}
		index = resp.Header.Get("X-Consul-Index")
		var pairs []struct{ Value []byte }
		if resp.StatusCode == http.StatusOK {
			err = json.NewDecoder(resp.Body).Decode(&pairs)
		}
		_ = resp.Body.Close()
		if err != nil {
			return err
		}
		if len(pairs) == 0 || string(pairs[0].Value) == last {
			continue
		}
		last = string(pairs[0].Value)
		if err := swap(destination, last, pid); err != nil {
			return err
		}
	}
}

// swap writes a file and tells whoever reads it.
func swap(destination, leader string, pid int) error {
	if err := write(destination+".new", fmt.Appendf(nil, "leader=%s\n", leader)); err != nil {
		return err
	}
	if err := os.Rename(destination+".new", destination); err != nil {
		return err
	}
	return syscall.Kill(pid, syscall.SIGHUP)
}

func write(path string, content []byte) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_TRUNC, 0o644)
	if err != nil {
		return err
	}
	defer func() { _ = f.Close() }()
	if _, err := f.Write(content); err != nil {
		return err
	}
	if os.Getenv("SYNC") == "1" {
		return f.Sync()
	}
	return nil
}
