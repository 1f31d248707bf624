package reaper

import (
	"context"
	"fmt"

	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/client/config"

	"github.com/essential-containers/essential-containers/internal/command"
)

// Command is the subcommand. The flags set all options but those that have none.
func Command(options *Options) *cobra.Command {
	return command.New("reaper",
		"Reaper watches tracked pods and, once the essential container of one has completed, stops and deletes it.",
		options, func(ctx context.Context) error {
			restConfig, err := config.GetConfig()
			if err != nil {
				return fmt.Errorf("finding the API server: %w", err)
			}
			return Run(ctx, restConfig, *options)
		})
}
