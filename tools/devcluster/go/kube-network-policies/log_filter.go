package main

import (
	"bytes"
	"flag"
	"os"

	"k8s.io/klog/v2"
)

// suppressed are messages at each change of a pod: the rules are synced, and fail as intended.
var suppressed = [][]byte{
	[]byte("Syncing nftables rules"),
	[]byte("numerical result out of range"),
}

// filter writes all other messages to standard error.
type filter struct{}

func (filter) Write(entry []byte) (int, error) {
	for _, words := range suppressed {
		if bytes.Contains(entry, words) {
			return len(entry), nil
		}
	}
	return os.Stderr.Write(entry)
}

func filterLog() {
	flags := flag.NewFlagSet("klog", flag.PanicOnError)
	klog.InitFlags(flags)
	// Otherwise klog writes an error again for each lower severity.
	_ = flags.Parse([]string{"-logtostderr=false", "-alsologtostderr=false", "-stderrthreshold=FATAL", "-one_output=true"})
	klog.SetOutput(filter{})
}
