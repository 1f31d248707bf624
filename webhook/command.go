package webhook

import (
	"context"

	"github.com/spf13/cobra"

	"github.com/essential-containers/essential-containers/internal/command"
)

// Command is the subcommand.
func Command() *cobra.Command {
	var options Options
	return command.New("webhook",
		"Webhook checks the essential-containers label and policies of pods, and of workloads' pod templates, at admission, and rejects what is wrong.",
		&options, func(ctx context.Context) error { return Run(ctx, options) })
}
