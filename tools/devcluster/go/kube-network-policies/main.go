// Command kube-network-policies enforces the NetworkPolicies of the cluster.
//
// The node's packet rules queue the first packet of each connection of a pod for it; see
// make_packet_rules in node.py.
package main

import (
	"context"
	"flag"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"k8s.io/client-go/informers"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/klog/v2"
	"sigs.k8s.io/kube-network-policies/pkg/networkpolicy"
)

func main() {
	kubeconfig := flag.String("kubeconfig", "", "path of the kubeconfig")
	node := flag.String("node", "", "name of the node")
	queue := flag.Int("queue", 100, "number of the netfilter queue")
	flag.Parse()
	filterLog()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, *kubeconfig, *node, *queue); err != nil {
		klog.ErrorS(err, "NetworkPolicies are not enforced")
		os.Exit(1)
	}
}

func run(ctx context.Context, kubeconfig, node string, queue int) error {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return err
	}
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		return err
	}
	watched := informers.NewSharedInformerFactory(client, 0)
	controller, err := networkpolicy.NewController(
		client,
		watched.Networking().V1().NetworkPolicies(),
		watched.Core().V1().Namespaces(),
		watched.Core().V1().Pods(),
		nil, nil, nil, nil,
		networkpolicy.Config{
			NodeName: node,
			QueueID:  queue,
			// The controller's own nftables rules need features that some kernels lack, and would block the
			// machine itself. They are created in one transaction, which this name, too long for the kernel,
			// makes fail, so that only the node's rules apply.
			NFTableName: strings.Repeat("unused", 64),
		},
	)
	if err != nil {
		return err
	}
	watched.Start(ctx.Done())
	return controller.Run(ctx)
}
