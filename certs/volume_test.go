package certs

import (
	"os"
	"path/filepath"
	"testing"
)

// volume is a directory that changes as the kubelet changes a mounted Secret:
// the files are links through ..data, a link to a directory of one revision,
// which is replaced in one rename; then the old revision is removed.
type volume struct {
	t   testing.TB
	dir string
}

func newVolume(t testing.TB) volume { return volume{t: t, dir: t.TempDir()} }

// publish makes p the content of the volume, in one step.
func (v volume) publish(p pair) {
	v.t.Helper()
	data := filepath.Join(v.dir, "..data")
	old, oldErr := os.Readlink(data)

	revision, err := os.MkdirTemp(v.dir, "..revision-")
	v.must(err)
	v.must(os.WriteFile(filepath.Join(revision, certFile), p.cert, 0o600))
	v.must(os.WriteFile(filepath.Join(revision, keyFile), p.key, 0o600))
	v.must(os.Symlink(filepath.Base(revision), data+"_tmp"))
	v.must(os.Rename(data+"_tmp", data))
	if oldErr == nil {
		v.must(os.RemoveAll(filepath.Join(v.dir, old)))
		return
	}
	for _, name := range []string{certFile, keyFile} {
		v.must(os.Symlink(filepath.Join("..data", name), filepath.Join(v.dir, name)))
	}
}

// empty removes the files, as for an optional Secret that has been deleted.
func (v volume) empty() {
	v.t.Helper()
	for _, name := range []string{certFile, keyFile, "..data"} {
		v.must(os.Remove(filepath.Join(v.dir, name)))
	}
}

func (v volume) must(err error) {
	v.t.Helper()
	if err != nil {
		v.t.Fatal(err)
	}
}
