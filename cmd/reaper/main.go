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

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client/config"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/essential-containers/essential-containers/reaper"
)

// version is set when the image is built.
var version = "development"

func main() {
	ctx, cancel := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := run(ctx, os.Args[1:], os.Stdout)
	cancel()
	if err != nil && !errors.Is(err, flag.ErrHelp) {
		fmt.Fprintln(os.Stderr, "reaper:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, args []string, out io.Writer) error {
	var options reaper.Options
	var logging zap.Options
	flags := flag.NewFlagSet("reaper", flag.ContinueOnError)
	flags.Usage = func() {
		fmt.Fprint(flags.Output(), "Watches tracked pods and, once the essential container of one has completed, stops and deletes it.\n\nFlags:\n")
		flags.PrintDefaults()
	}
	showVersion := flags.Bool("version", false, "print the version and exit")
	options.Bind(flags)
	logging.BindFlags(flags)
	config.RegisterFlags(flags) // --kubeconfig
	if err := flags.Parse(args); err != nil {
		return err
	}
	if flags.NArg() > 0 {
		return fmt.Errorf("unexpected argument %q", flags.Arg(0))
	}
	if *showVersion {
		_, err := fmt.Fprintln(out, version)
		return err
	}
	if err := options.Validate(); err != nil {
		return err
	}
	logger := zap.New(zap.UseFlagOptions(&logging))
	ctrl.SetLogger(logger)
	logger.Info("starting", "version", version, "stopStrategy", options.StopStrategy, "workers", options.Workers)
	restConfig, err := config.GetConfig()
	if err != nil {
		return fmt.Errorf("finding the API server: %w", err)
	}
	return reaper.Run(ctx, restConfig, options)
}
