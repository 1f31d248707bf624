// Command essential-containers is the webhook and the reaper, as subcommands of one
// program. Most of both is Kubernetes' API types: two programs would be nearly twice
// as large.
package main

import (
	"github.com/essential-containers/essential-containers/internal/command"
	"github.com/essential-containers/essential-containers/reaper"
	"github.com/essential-containers/essential-containers/webhook"
)

// version is set by the linker (-X main.version=v1.2.3).
var version = "development"

func main() { command.Main(version, webhook.Command(), reaper.Command(&reaper.Options{})) }
