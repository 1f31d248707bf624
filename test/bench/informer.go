package main

import (
	"context"
	"errors"
	"net/http"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/clientcmd"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	metricsserver "sigs.k8s.io/controller-runtime/pkg/metrics/server"
)

// stockInformer keeps pods as a controller does that says nothing about it: a
// manager, its cache, and all pods of the cluster as they come.
func stockInformer(ctx context.Context, args []string) error {
	flags, kubeconfig, health, metrics := contenderFlags(informerCommand)
	profiles := flags.String("pprof-addr", "", "where profiles are served")
	if err := flags.Parse(args); err != nil {
		return err
	}
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	if err != nil {
		return err
	}
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return err
	}
	m, err := ctrl.NewManager(config, ctrl.Options{
		Scheme: scheme, HealthProbeBindAddress: *health, PprofBindAddress: *profiles, Metrics: metricsserver.Options{BindAddress: *metrics},
	})
	if err != nil {
		return err
	}
	informer, err := m.GetCache().GetInformer(ctx, &corev1.Pod{}, cache.BlockUntilSynced(false))
	if err != nil {
		return err
	}
	err = m.AddReadyzCheck("list", func(*http.Request) error {
		if !informer.HasSynced() {
			return errors.New("the list of pods has not arrived yet")
		}
		return nil
	})
	if err != nil {
		return err
	}
	return m.Start(ctx)
}
