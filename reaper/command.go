package reaper

import (
	"context"
	"flag"
	"fmt"

	"sigs.k8s.io/controller-runtime/pkg/client/config"

	"github.com/essential-containers/essential-containers/internal/command"
)

// Command is the program.
func Command(version string) command.Command { return CommandWith(version, &Options{}) }

// CommandWith is the program with those of the options that are no flags; the
// flags set the others.
func CommandWith(version string, options *Options) command.Command {
	return command.Command{
		Name:    "reaper",
		Purpose: "Reaper watches tracked pods and, once the essential container of one has completed, stops and deletes it.",
		Version: version,
		Bind: func(flags *flag.FlagSet) {
			options.BindFlags(flags)
			config.RegisterFlags(flags) // --kubeconfig
		},
		Validate: options.Validate,
		Run: func(ctx context.Context) error {
			restConfig, err := config.GetConfig()
			if err != nil {
				return fmt.Errorf("finding the API server: %w", err)
			}
			return Run(ctx, restConfig, *options)
		},
	}
}
