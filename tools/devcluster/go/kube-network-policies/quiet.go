package main

import (
	"bytes"
	"flag"
	"os"

	"k8s.io/klog/v2"
)

// notNews is what is said at each change of a pod: that rules are made, and that they cannot be, which is wanted.
var notNews = [][]byte{
	[]byte("Syncing nftables rules"),
	[]byte("numerical result out of range"),
}

// news passes on all but that to standard error.
type news struct{}

func (news) Write(entry []byte) (int, error) {
	for _, words := range notNews {
		if bytes.Contains(entry, words) {
			return len(entry), nil
		}
	}
	return os.Stderr.Write(entry)
}

func logNews() {
	flags := flag.NewFlagSet("klog", flag.PanicOnError)
	klog.InitFlags(flags)
	// An error would otherwise be written once more for each lesser kind.
	_ = flags.Parse([]string{"-logtostderr=false", "-alsologtostderr=false", "-stderrthreshold=FATAL", "-one_output=true"})
	klog.SetOutput(news{})
}
