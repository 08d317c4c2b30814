// Command cluster-addons gives a local cluster what a cloud would: addresses
// for Services of type LoadBalancer, volumes for claims, and a resolver to ask
// for names outside the cluster.
//
// The first two are one loop. It looks at everything after each change, and
// once a second because a switch file has no events; nothing is remembered that
// the cluster does not say itself, save what the caches may not show yet.
package main

import (
	"context"
	"flag"
	"log"
	"net/netip"
	"os/signal"
	"syscall"
	"time"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/clientcmd"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "kubeconfig of an administrator")
	pool := flag.String("pool", "", "addresses for load balancers, as first-last")
	switchFile := flag.String("load-balancer-switch", "", "file that says on or off")
	volumes := flag.String("volumes", "", "folder to keep volumes in")
	node := flag.String("node", "", "name of the only node")
	dns := flag.String("dns", "", "address to answer DNS on, with NXDOMAIN to everything")
	flag.Parse()

	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()

	addresses, err := parsePool(*pool)
	must(err)
	config, err := clientcmd.BuildConfigFromFlags("", *kubeconfig)
	must(err)
	config.QPS, config.Burst = 50, 100
	client, err := kubernetes.NewForConfig(config)
	must(err)

	factory := informers.NewSharedInformerFactory(client, 0)
	core := factory.Core().V1()
	balancer := &loadBalancer{
		client:     client,
		services:   core.Services().Lister(),
		pool:       addresses,
		switchFile: *switchFile,
		given:      map[netip.Addr]string{},
	}
	provisioner := &provisioner{
		client:  client,
		claims:  core.PersistentVolumeClaims().Lister(),
		volumes: core.PersistentVolumes().Lister(),
		classes: factory.Storage().V1().StorageClasses().Lister(),
		folder:  *volumes,
		node:    *node,
	}

	changed := make(chan struct{}, 1)
	for _, informer := range []cache.SharedIndexInformer{
		core.Services().Informer(),
		core.PersistentVolumeClaims().Informer(),
		core.PersistentVolumes().Informer(),
		factory.Storage().V1().StorageClasses().Informer(),
	} {
		_, err := informer.AddEventHandler(notify(changed))
		must(err)
	}
	go func() { must(answerNXDomain(ctx, *dns)) }()
	factory.Start(ctx.Done())
	factory.WaitForCacheSync(ctx.Done())

	tick := time.NewTicker(time.Second)
	for {
		logError("load balancers", balancer.reconcile(ctx))
		logError("volumes", provisioner.reconcile(ctx))
		select {
		case <-ctx.Done():
			return
		case <-changed:
		case <-tick.C:
		}
	}
}

// notify marks a change; several before the next look are one.
func notify(changed chan<- struct{}) cache.ResourceEventHandler {
	mark := func() {
		select {
		case changed <- struct{}{}:
		default:
		}
	}
	return cache.ResourceEventHandlerFuncs{
		AddFunc:    func(any) { mark() },
		UpdateFunc: func(any, any) { mark() },
		DeleteFunc: func(any) { mark() },
	}
}

func logError(what string, err error) {
	if err != nil {
		log.Printf("%s: %v", what, err)
	}
}

func must(err error) {
	if err != nil {
		log.Fatal(err)
	}
}
