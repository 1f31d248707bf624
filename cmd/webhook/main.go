// Command webhook is the admission webhook of essential containers.
package main

import (
	"context"

	"github.com/essential-containers/essential-containers/internal/command"
	"github.com/essential-containers/essential-containers/webhook"
)

// version is set by the linker (-X main.version=v1.2.3).
var version = "development"

func main() { newCommand().Main() }

func newCommand() command.Command {
	var options webhook.Options
	return command.Command{
		Name:     "webhook",
		Purpose:  "Webhook checks the essential-containers label and policies of pods, and of workloads' pod templates, at admission, and rejects what is wrong.",
		Version:  version,
		Bind:     options.BindFlags,
		Validate: options.Validate,
		Run:      func(ctx context.Context) error { return webhook.Run(ctx, options) },
	}
}
