//go:build linux

package main

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
)

// kubeletSysctls are the settings of the machine that every kubelet changes,
// and their values then: setupKernelTunables in k8s.io/kubernetes,
// pkg/kubelet/cm. Those that kube-proxy and the CNI plugins change belong to
// the cluster's network namespace and end with it.
var kubeletSysctls = map[string]string{
	"kernel/keys/root_maxbytes": "25000000",
	"kernel/keys/root_maxkeys":  "1000000",
	"kernel/panic":              "10",
	"kernel/panic_on_oops":      "1",
	"vm/overcommit_memory":      "1",
	"vm/panic_on_oom":           "0",
}

// containerProfile is the AppArmor profile that containerd loads for its
// containers and never unloads.
const containerProfile = "cri-containerd.apparmor.d"

// originals are the settings of the machine that no namespace contains, as
// they were before the first cluster started.
type originals struct {
	Boot          string            // a restart of the machine undoes all changes
	Clusters      map[string]bool   // the clusters that have started since and are not down
	Sysctls       map[string]string // by path below /proc/sys
	ProfileLoaded bool
}

// machine is where the settings are, and where their originals are kept.
type machine struct {
	proc     string // "/proc"
	apparmor string // AppArmor's folder of the security file system
	file     string // the originals, while a cluster is up
}

func thisMachine() machine {
	// The name of a cluster's folder never begins with a dot.
	return machine{proc: "/proc", apparmor: "/sys/kernel/security/apparmor", file: filepath.Join(stateRoot, ".originals")}
}

// keep saves the originals before a cluster starts. What is saved already is
// kept: another cluster, or an interrupted up, may have changed the settings.
func (m machine) keep(cluster string) error {
	return m.locked(func(boot string) error {
		before, ok := m.kept(boot)
		if !ok {
			before = originals{Boot: boot, Clusters: map[string]bool{}, Sysctls: map[string]string{}}
			for name := range kubeletSysctls {
				// A sandbox may lack some. The kubelet does not change them either.
				if value, err := m.sysctl(name); err == nil {
					before.Sysctls[name] = value
				}
			}
			var err error
			if before.ProfileLoaded, err = m.profileLoaded(); err != nil {
				return err
			}
		}
		before.Clusters[cluster] = true
		return m.save(before)
	})
}

// restore puts the originals back after the last cluster has ended. The kubelet
// of another cluster still needs its values.
func (m machine) restore(cluster string) error {
	return m.locked(func(boot string) error {
		if before, ok := m.kept(boot); ok {
			if delete(before.Clusters, cluster); len(before.Clusters) > 0 {
				return m.save(before)
			}
			if err := errors.Join(m.restoreSysctls(before), m.restoreProfile(before)); err != nil {
				return err
			}
		}
		return errors.Join(os.RemoveAll(m.partial()), os.RemoveAll(m.file))
	})
}

// locked calls do while no other up or down reads or writes the originals.
func (m machine) locked(do func(boot string) error) error {
	lock := m.file + ".lock"
	unlock, err := lockWaiting(lock)
	if err != nil {
		return err
	}
	defer unlock()
	boot, err := os.ReadFile(filepath.Join(m.proc, "sys/kernel/random/boot_id"))
	if err != nil {
		return err
	}
	return errors.Join(do(string(bytes.TrimSpace(boot))), os.Remove(lock))
}

// kept returns the originals, if they are of this boot.
func (m machine) kept(boot string) (before originals, ok bool) {
	text, err := os.ReadFile(m.file)
	return before, err == nil && json.Unmarshal(text, &before) == nil && before.Boot == boot
}

// save replaces the file as a whole: an interrupted up must not lose it.
func (m machine) save(before originals) error {
	text, err := json.Marshal(before)
	if err != nil {
		return err
	}
	if err := os.WriteFile(m.partial(), text, 0o600); err != nil {
		return err
	}
	return os.Rename(m.partial(), m.file)
}

func (m machine) partial() string { return m.file + ".partial" }

func (m machine) sysctl(name string) (string, error) {
	value, err := os.ReadFile(filepath.Join(m.proc, "sys", name))
	return string(bytes.TrimSpace(value)), err
}

// restoreSysctls writes back what the kubelet has changed. A value that is not
// the kubelet's was set by someone else since, and remains.
func (m machine) restoreSysctls(before originals) error {
	var errs []error
	for _, name := range slices.Sorted(maps.Keys(before.Sysctls)) {
		now, err := m.sysctl(name)
		if err == nil && now == kubeletSysctls[name] && now != before.Sysctls[name] {
			err = os.WriteFile(filepath.Join(m.proc, "sys", name), []byte(before.Sysctls[name]), 0o644)
		}
		// The kubelet has not changed what root cannot write here.
		if err != nil && !errors.Is(err, fs.ErrPermission) && !errors.Is(err, syscall.EROFS) {
			errs = append(errs, fmt.Errorf("restoring the sysctl %s: %w", name, err))
		}
	}
	return errors.Join(errs...)
}

func (m machine) profileLoaded() (bool, error) {
	profiles, err := os.ReadFile(filepath.Join(m.apparmor, "profiles"))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) {
		return false, nil // no AppArmor here, and none for containerd
	}
	if err != nil {
		return false, fmt.Errorf("reading the AppArmor profiles: %w", err)
	}
	return slices.ContainsFunc(strings.Split(string(profiles), "\n"), isProfile), nil
}

// isProfile expects what the kernel prints: a profile's name, then its mode in
// brackets.
func isProfile(line string) bool { return strings.HasPrefix(line, containerProfile+" ") }

// restoreProfile unloads the profile if it was not loaded before. It remains
// loaded while it confines processes: these belong to another containerd, and
// unloading it would leave them unconfined.
func (m machine) restoreProfile(before originals) error {
	loaded, err := m.profileLoaded()
	if err != nil || !loaded || before.ProfileLoaded || m.profileUsed() {
		return err
	}
	if err := os.WriteFile(filepath.Join(m.apparmor, ".remove"), []byte(containerProfile), 0o600); err != nil {
		return fmt.Errorf("unloading the AppArmor profile %s: %w", containerProfile, err)
	}
	return nil
}

func (m machine) profileUsed() bool {
	for _, pattern := range []string{"[0-9]*/attr/apparmor/current", "[0-9]*/attr/current"} {
		files, _ := filepath.Glob(filepath.Join(m.proc, pattern))
		for _, file := range files {
			// A process may have ended since.
			if label, err := os.ReadFile(file); err == nil && isProfile(string(label)) {
				return true
			}
		}
	}
	return false
}
