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

func TestMain(m *testing.M) {
	if os.Getenv(asProgram) != "" {
		main()
		return
	}
	os.Exit(m.Run())
}

// asUser runs a command as a user who is not root. It returns the output, and whether the command succeeded. The command's file
// is copied: the checkout, and the folder of the test binary, may be closed to other users.
func asUser(t *testing.T, file, program string, args ...string) (string, bool) {
	t.Helper()
	folder, err := os.MkdirTemp("", "cluster-")
	must(t, err)
	defer os.RemoveAll(folder)
	content, err := os.ReadFile(file)
	must(t, err)
	copied := filepath.Join(folder, "file")
	must(t, errors.Join(os.WriteFile(copied, content, 0o755), os.Chmod(folder, 0o755)))
	for i := range args {
		args[i] = strings.ReplaceAll(args[i], "FILE", copied)
	}
	command := exec.Command(strings.ReplaceAll(program, "FILE", copied), args...)
	command.Env = append(os.Environ(), "MAKEFLAGS=", asProgram+"=1")
	var output bytes.Buffer
	command.Dir, command.Stdout, command.Stderr = "/", &output, &output
	if os.Geteuid() == 0 {
		command.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: 65534, Gid: 65534}}
	}
	err = command.Run()
	if errors.Is(err, syscall.EPERM) {
		t.Fatalf("this root cannot become another user: %v", err)
	}
	return output.String(), err == nil
}

func TestMakeWithoutRoot(t *testing.T) {
	for _, goal := range []string{"demo", "test", "setup", "e2e", "faults", "bench", "cluster-up", "cluster-down", "clean"} {
		output, ok := asUser(t, "../../Makefile", "make", "--file=FILE", goal, "-j2", "KEEP=1")
		if want := "make " + goal + ` needs root: run it again with: sudo env PATH="$PATH" make ` + goal + " KEEP=1\n"; ok || !strings.Contains(output, want) {
			t.Errorf("got success %t and %q, want %q", ok, output, want)
		}
		for _, early := range []string{"go run", "go tool", "go build"} {
			if strings.Contains(output, early) {
				t.Errorf("%s came first: %q", early, output)
			}
		}
	}
	for _, goal := range []string{"help", "build", "lint", "unit", "docker-build", "deploy", "manifests"} {
		if output, ok := asUser(t, "../../Makefile", "make", "--file=FILE", "--dry-run", goal); !ok {
			t.Errorf("%s needs no root, but: %q", goal, output)
		}
	}
}

func TestProgramWithoutRoot(t *testing.T) {
	for _, command := range []string{"build", "up", "down"} {
		want := `need root: run it again with: sudo env PATH="$PATH" go run ./test/cluster ` + command + " --name=x\n"
		if output, ok := asUser(t, os.Args[0], "FILE", command, "--name=x"); ok || !strings.HasSuffix(output, want) {
			t.Errorf("got success %t and %q, want %q at its end", ok, output, want)
		}
	}
}
