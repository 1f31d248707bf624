package webhook

import (
	"context"

	"github.com/essential-containers/essential-containers/internal/command"
)

// Command is the program.
func Command(version string) command.Command {
	var options Options
	return command.Command{
		Name:     "webhook",
		Purpose:  "Webhook checks the essential-containers label and policies of pods, and of workloads' pod templates, at admission, and rejects what is wrong.",
		Version:  version,
		Bind:     options.BindFlags,
		Validate: options.Validate,
		Run:      func(ctx context.Context) error { return Run(ctx, options) },
	}
}
