// Command etcd is the etcd server alone, without its client, tools and embedding examples.
package main

import (
	"os"

	"go.etcd.io/etcd/server/v3/etcdmain"
)

func main() { etcdmain.Main(os.Args) }
