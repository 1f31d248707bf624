// Command essential-containers is the webhook and the reaper in one file, which
// goes by the name that it is called by, as a link of that name. Most of both is
// Kubernetes' API types: two files would be nearly twice as large.
package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/essential-containers/essential-containers/internal/command"
	"github.com/essential-containers/essential-containers/reaper"
	"github.com/essential-containers/essential-containers/webhook"
)

// version is set by the linker (-X main.version=v1.2.3).
var version = "development"

func main() {
	program, err := named(filepath.Base(os.Args[0]))
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(2)
	}
	program.Main()
}

func named(name string) (command.Command, error) {
	for _, program := range []command.Command{webhook.Command(version), reaper.Command(version)} {
		if program.Name == name {
			return program, nil
		}
	}
	return command.Command{}, fmt.Errorf("%s: call this as webhook or as reaper, through a link of that name", name)
}
