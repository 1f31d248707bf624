// Package command is what the subcommands of essential-containers have in common:
// flags, help, logging, profiles and the memory limit.
package command

import (
	"context"
	"flag"
	"fmt"
	"os"

	"github.com/go-logr/logr"
	"github.com/spf13/cobra"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/manager/signals"
)

const profileFlag = "pprof-addr"

// Options are the settings of a subcommand.
type Options interface {
	BindFlags(*flag.FlagSet) // adds their flags and sets their defaults
	Validate() error         // names the first flag whose value is wrong
}

// New returns a subcommand. Its purpose is one sentence, the start of its help. It
// calls run with a logger in the context, and ends when run returns.
func New(name, purpose string, options Options, run func(context.Context) error) *cobra.Command {
	var logging zap.Options
	flags := flag.NewFlagSet(name, flag.ContinueOnError)
	profiles := flags.String(profileFlag, "", "`address` on which Go's profiles are served below /debug/pprof/, over HTTP; empty: nowhere")
	options.BindFlags(flags)
	logging.BindFlags(flags)
	c := &cobra.Command{
		Use:   name,
		Short: purpose,
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := options.Validate(); err != nil {
				return err
			}
			logger := zap.New(zap.UseFlagOptions(&logging))
			log.SetLogger(logger) // for the libraries that do not take it from the context
			logger.Info("Starting", "program", name, "version", c.Root().Version)
			if err := limitMemory(); err != nil {
				return err
			}
			if *profiles != "" {
				server, err := serveProfiles(*profiles, logger)
				if err != nil {
					return err
				}
				defer func() { _ = server.Close() }()
			}
			return run(logr.NewContext(c.Context(), logger))
		},
	}
	// By default an error is its message: at night, the line of a library is no help.
	if err := flags.Set("zap-stacktrace-level", "panic"); err != nil {
		panic(err) // the flag is zap's own
	}
	c.Flags().AddGoFlagSet(flags)
	return c
}

// Root returns the program with these subcommands, and one that prints the version.
func Root(version string, subcommands ...*cobra.Command) *cobra.Command {
	root := &cobra.Command{
		Use:               "essential-containers",
		Short:             "Essential containers ends a pod when its essential container has completed.",
		Version:           version,
		SilenceErrors:     true, // Main prints the error, once
		SilenceUsage:      true,
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.AddCommand(subcommands...)
	root.AddCommand(&cobra.Command{
		Use:   "version",
		Short: "Print the version.",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(c.OutOrStdout(), version)
			return err
		},
	})
	return root
}

// Main runs the program with the process's arguments, and exits with 1 if it fails.
// SIGINT and SIGTERM end its context; a second signal ends the process.
func Main(version string, subcommands ...*cobra.Command) {
	root := Root(version, subcommands...)
	if err := root.ExecuteContext(signals.SetupSignalHandler()); err != nil {
		fmt.Fprintf(os.Stderr, "%s: %v\n", root.Name(), err)
		os.Exit(1)
	}
}
