// Command reaper ends pods whose essential container has completed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/essential-containers/essential-containers/reaper"
)

const usage = `Reaper watches tracked pods and, once the essential container of one has completed, stops and deletes it.

Usage: reaper [flags]

`

// version is set by the linker (-X main.version=v1.2.3).
var version = "development"

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	if err := run(ctx, os.Args[1:], os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "reaper:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, stdout io.Writer) error {
	var (
		options     reaper.Options
		logging     zap.Options
		showVersion bool
	)
	flags := flag.NewFlagSet("reaper", flag.ContinueOnError)
	flags.SetOutput(io.Discard) // the error is printed by main, once
	flags.Usage = func() {}
	flags.BoolVar(&showVersion, "version", false, "print the version and exit")
	options.Bind(flags)
	logging.BindFlags(flags)
	config.RegisterFlags(flags) // --kubeconfig

	err := flags.Parse(args)
	switch {
	case errors.Is(err, flag.ErrHelp):
		fmt.Fprint(stdout, usage)
		flags.SetOutput(stdout)
		flags.PrintDefaults()
		return nil
	case err != nil:
		return err
	case flags.NArg() > 0:
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	case showVersion:
		fmt.Fprintln(stdout, version)
		return nil
	}
	if err := options.Validate(); err != nil {
		return err
	}

	logger := zap.New(zap.UseFlagOptions(&logging))
	log.SetLogger(logger)
	logger.Info("Starting", "version", version, "stopStrategy", options.StopStrategy, "workers", options.Workers)
	restConfig, err := config.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the API server: %w", err)
	}
	return reaper.Run(ctx, restConfig, options)
}
