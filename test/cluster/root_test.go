//go:build linux

package main

import (
	"bytes"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
)

// asProgram makes the test binary behave as the program itself.
const asProgram = "TEST_AS_PROGRAM"

// notAsRoot runs a command as a user who is not root. It returns the output, and
// whether the command succeeded.
func notAsRoot(t *testing.T, command *exec.Cmd) (string, bool) {
	t.Helper()
	var output bytes.Buffer
	command.Dir, command.Stdout, command.Stderr = "/", &output, &output
	if os.Geteuid() == 0 {
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	err := command.Run()
	if errors.Is(err, syscall.EPERM) {
		t.Fatalf("this root cannot become another user: %v", err)
	}
	return output.String(), err == nil
}

// fileForAll makes a file that every user can read and execute. The checkout and
// the folder of t.TempDir may be closed to other users.
func fileForAll(t *testing.T, content []byte) string {
	t.Helper()
	folder, err := os.MkdirTemp("", "cluster-")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(folder) })
	path := filepath.Join(folder, "file")
	if err := errors.Join(os.WriteFile(path, content, 0o755), os.Chmod(folder, 0o755)); err != nil {
		t.Fatal(err)
	}
	return path
}

func TestMakeWithoutRoot(t *testing.T) {
	if _, err := exec.LookPath("make"); err != nil {
		t.Fatal(err)
	}
	makefile, err := os.ReadFile("../../Makefile")
	if err != nil {
		t.Fatal(err)
	}
	copied := fileForAll(t, makefile)
	run := func(t *testing.T, args ...string) (string, bool) {
		command := exec.Command("make", append([]string{"--file=" + copied}, args...)...)
		command.Env = append(os.Environ(), "MAKEFLAGS=")
		return notAsRoot(t, command)
	}
	for _, goal := range []string{"demo", "test", "setup", "e2e", "faults", "bench", "deploy", "cluster-up", "cluster-down", "clean"} {
		t.Run(goal, func(t *testing.T) {
			output, ok := run(t, goal, "-j2", "KEEP=1")
			if want := "make " + goal + ` needs root: run it again with: sudo env PATH="$PATH" make ` + goal + " KEEP=1\n"; ok || !strings.Contains(output, want) {
				t.Errorf("got success %t and %q, want %q", ok, output, want)
			}
			for _, early := range []string{"go run", "go tool", "go build"} {
				if strings.Contains(output, early) {
					t.Errorf("%s came first: %q", early, output)
				}
			}
		})
	}
	for _, goal := range []string{"help", "build", "lint", "unit", "docker-build"} {
		t.Run(goal+" needs none", func(t *testing.T) {
			if output, ok := run(t, "--dry-run", goal); !ok {
				t.Errorf("got %q", output)
			}
		})
	}
}

func TestProgramWithoutRoot(t *testing.T) {
	self, err := os.ReadFile(os.Args[0])
	if err != nil {
		t.Fatal(err)
	}
	program := fileForAll(t, self)
	for _, command := range []string{"build", "up", "down"} {
		t.Run(command, func(t *testing.T) {
			cmd := exec.Command(program, command, "--name=x")
			cmd.Env = append(os.Environ(), asProgram+"=1")
			want := `need root: run it again with: sudo env PATH="$PATH" go run ./test/cluster ` + command + " --name=x\n"
			if output, ok := notAsRoot(t, cmd); ok || !strings.HasSuffix(output, want) {
				t.Errorf("got success %t and %q, want %q at its end", ok, output, want)
			}
		})
	}
}
