//go:build linux

package main

import (
	"errors"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// fakeMachine has files in place of the kernel's.
func fakeMachine(t *testing.T, sysctls map[string]string, profiles string) machine {
	t.Helper()
	folder := t.TempDir()
	m := machine{proc: filepath.Join(folder, "proc"), apparmor: filepath.Join(folder, "apparmor"), file: filepath.Join(folder, "state", ".originals")}
	writeFile(t, filepath.Join(m.proc, "sys/kernel/random/boot_id"), "first\n")
	for name, value := range sysctls {
		writeFile(t, filepath.Join(m.proc, "sys", name), value+"\n")
	}
	if profiles != "" {
		writeFile(t, filepath.Join(m.apparmor, "profiles"), profiles)
	}
	return m
}

func writeFile(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

// startKubelet changes what a kubelet and containerd change.
func (m machine) startKubelet(t *testing.T) {
	t.Helper()
	for name, value := range kubeletSysctls {
		if _, err := m.sysctl(name); err == nil {
			writeFile(t, filepath.Join(m.proc, "sys", name), value+"\n")
		}
	}
	if _, err := os.Stat(m.apparmor); err == nil {
		writeFile(t, filepath.Join(m.apparmor, "profiles"), "docker-default (enforce)\n"+containerProfile+" (enforce)\n")
	}
}

func (m machine) mustKeep(t *testing.T, cluster string) {
	t.Helper()
	if err := m.keep(cluster); err != nil {
		t.Fatal(err)
	}
}

func (m machine) mustRestore(t *testing.T, cluster string) {
	t.Helper()
	if err := m.restore(cluster); err != nil {
		t.Fatal(err)
	}
}

// values are those of the sysctls that the machine has.
func (m machine) values() map[string]string {
	found := map[string]string{}
	for name := range kubeletSysctls {
		if value, err := m.sysctl(name); err == nil {
			found[name] = value
		}
	}
	return found
}

func (m machine) assertValues(t *testing.T, want map[string]string) {
	t.Helper()
	if got := m.values(); !maps.Equal(got, want) {
		t.Errorf("got the sysctls %v, want %v", got, want)
	}
}

// assertNoFiles is for after the last down: the folder of the clusters must be
// removable then.
func (m machine) assertNoFiles(t *testing.T) {
	t.Helper()
	if err := os.Remove(filepath.Dir(m.file)); err != nil {
		t.Error(err)
	}
}

func TestSysctlsAreRestored(t *testing.T) {
	before := map[string]string{"kernel/panic": "0", "kernel/panic_on_oops": "0", "vm/overcommit_memory": "2"}
	for sentence, do := range map[string]func(*testing.T, machine) map[string]string{
		"after one cluster": func(t *testing.T, m machine) map[string]string {
			m.mustKeep(t, "a")
			m.startKubelet(t)
			m.mustRestore(t, "a")
			return before
		},
		"after an interrupted up and another": func(t *testing.T, m machine) map[string]string {
			m.mustKeep(t, "a")
			m.startKubelet(t)
			m.mustKeep(t, "a")
			m.mustRestore(t, "a")
			return before
		},
		"after the last of two clusters": func(t *testing.T, m machine) map[string]string {
			m.mustKeep(t, "a")
			m.startKubelet(t)
			m.mustKeep(t, "b")
			m.mustRestore(t, "a")
			m.assertValues(t, map[string]string{"kernel/panic": "10", "kernel/panic_on_oops": "1", "vm/overcommit_memory": "1"})
			m.mustRestore(t, "b")
			return before
		},
		"once": func(t *testing.T, m machine) map[string]string {
			m.mustKeep(t, "a")
			m.startKubelet(t)
			m.mustRestore(t, "a")
			m.startKubelet(t) // another Kubernetes
			m.mustRestore(t, "a")
			return map[string]string{"kernel/panic": "10", "kernel/panic_on_oops": "1", "vm/overcommit_memory": "1"}
		},
		"except what someone else has set since": func(t *testing.T, m machine) map[string]string {
			m.mustKeep(t, "a")
			m.startKubelet(t)
			writeFile(t, filepath.Join(m.proc, "sys/kernel/panic"), "30")
			m.mustRestore(t, "a")
			return map[string]string{"kernel/panic": "30", "kernel/panic_on_oops": "0", "vm/overcommit_memory": "2"}
		},
		"but not to the values of an earlier boot": func(t *testing.T, m machine) map[string]string {
			m.mustKeep(t, "a")
			m.mustKeep(t, "crashed")
			now := map[string]string{"kernel/panic": "60", "kernel/panic_on_oops": "0", "vm/overcommit_memory": "0"}
			for name, value := range now {
				writeFile(t, filepath.Join(m.proc, "sys", name), value)
			}
			writeFile(t, filepath.Join(m.proc, "sys/kernel/random/boot_id"), "second\n")
			m.mustKeep(t, "a")
			m.startKubelet(t)
			m.mustRestore(t, "a")
			return now
		},
		"although a power cut left half a file": func(t *testing.T, m machine) map[string]string {
			writeFile(t, m.file, `{"Boot": "fi`)
			writeFile(t, m.partial(), "")
			m.mustKeep(t, "a")
			m.startKubelet(t)
			m.mustRestore(t, "a")
			return before
		},
	} {
		t.Run(sentence, func(t *testing.T) {
			m := fakeMachine(t, before, "")
			m.assertValues(t, do(t, m))
			m.assertNoFiles(t)
		})
	}
}

func TestRestoreWithoutUp(t *testing.T) {
	m := fakeMachine(t, map[string]string{"kernel/panic": "10"}, "")
	m.mustRestore(t, "a")
	m.assertValues(t, map[string]string{"kernel/panic": "10"})
	m.assertNoFiles(t)
}

// A sysctl that could not be restored must not be forgotten.
func TestFailedRestore(t *testing.T) {
	m := fakeMachine(t, map[string]string{"kernel/panic": "0"}, "")
	m.mustKeep(t, "a")
	m.startKubelet(t)
	path := filepath.Join(m.proc, "sys/kernel/panic")
	if err := os.Rename(path, path+".real"); err != nil {
		t.Fatal(err)
	}
	if err := m.restore("a"); err == nil || !strings.Contains(err.Error(), "restoring the sysctl kernel/panic: ") {
		t.Errorf("got error %v", err)
	}
	if err := os.Rename(path+".real", path); err != nil {
		t.Fatal(err)
	}
	m.mustRestore(t, "a")
	m.assertValues(t, map[string]string{"kernel/panic": "0"})
	m.assertNoFiles(t)
}

// In a sandbox with sysctls that root can only read, the kubelet changed none.
func TestReadOnlySysctls(t *testing.T) {
	const readOnly = "/proc/sys/fs/aio-nr"
	m := fakeMachine(t, map[string]string{"vm/panic_on_oom": "2"}, "")
	m.mustKeep(t, "a")
	path := filepath.Join(m.proc, "sys/vm/panic_on_oom")
	if err := errors.Join(os.Remove(path), os.Symlink(readOnly, path)); err != nil {
		t.Fatal(err)
	}
	if value, err := m.sysctl("vm/panic_on_oom"); err != nil || value != kubeletSysctls["vm/panic_on_oom"] {
		t.Skipf("%s is %q here, error %v", readOnly, value, err)
	}
	m.mustRestore(t, "a")
	m.assertNoFiles(t)
}

func TestProfileIsUnloaded(t *testing.T) {
	for sentence, c := range map[string]struct {
		before   string // the profiles at the first up
		confined string // the profile of a process after the last cluster
		want     string // what the kernel is asked to unload
	}{
		"when the cluster loaded it":                 {"docker-default (enforce)\n", "unconfined\n", containerProfile},
		"but not the one that was loaded before":     {containerProfile + " (enforce)\n", "unconfined\n", ""},
		"but not while a process still runs with it": {"docker-default (enforce)\n", containerProfile + " (enforce)\n", ""},
		"also next to a profile with a longer name":  {containerProfile + ".mine (enforce)\n", containerProfile + ".mine (enforce)\n", containerProfile},
		"and nothing on a machine without AppArmor":  {"", "unconfined\n", ""},
	} {
		t.Run(sentence, func(t *testing.T) {
			m := fakeMachine(t, nil, c.before)
			m.mustKeep(t, "a")
			m.startKubelet(t)
			m.mustKeep(t, "b")
			m.mustRestore(t, "a")
			if _, err := os.Stat(filepath.Join(m.apparmor, ".remove")); err == nil {
				t.Error("it was unloaded while a cluster was up")
			}
			writeFile(t, filepath.Join(m.proc, "7/attr/current"), c.confined)
			m.mustRestore(t, "b")
			if removed, _ := os.ReadFile(filepath.Join(m.apparmor, ".remove")); string(removed) != c.want {
				t.Errorf("unloaded %q, want %q", removed, c.want)
			}
			m.assertNoFiles(t)
		})
	}
}
