// Command coredns is CoreDNS with only the plugins that serve a cluster's names: a tenth of its modules.
package main

import (
	_ "github.com/coredns/coredns/plugin/cache"
	_ "github.com/coredns/coredns/plugin/errors"
	_ "github.com/coredns/coredns/plugin/health"
	_ "github.com/coredns/coredns/plugin/kubernetes"
	_ "github.com/coredns/coredns/plugin/ready"
	_ "github.com/coredns/coredns/plugin/template"

	_ "github.com/coredns/coredns/plugin/bind"

	"github.com/coredns/coredns/coremain"
)

func main() { coremain.Run() }
