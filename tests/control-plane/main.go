// control-plane is one binary with the parts of Kubernetes that the end-to-end tests run against.
// Which part it is depends on the name it is called by, or else on its first argument.
package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/component-base/cli"
	_ "k8s.io/component-base/metrics/prometheus/clientgo"
	_ "k8s.io/component-base/metrics/prometheus/version"
	kubectl "k8s.io/kubectl/pkg/cmd"
	apiserver "k8s.io/kubernetes/cmd/kube-apiserver/app"
	controllermanager "k8s.io/kubernetes/cmd/kube-controller-manager/app"
	proxy "k8s.io/kubernetes/cmd/kube-proxy/app"
)

var parts = map[string]func() *cobra.Command{
	"new-signing-key":         newSigningKeyCommand,
	"kube-apiserver":          apiserver.NewAPIServerCommand,
	"kube-controller-manager": controllermanager.NewControllerManagerCommand,
	"kube-proxy":              proxy.NewProxyCommand,
	"kubectl":                 kubectl.NewDefaultKubectlCommand,
}

func main() {
	name := filepath.Base(os.Args[0])
	if _, found := parts[name]; !found && len(os.Args) > 1 {
		// The commands read os.Args themselves, so the part's name becomes the program's.
		os.Args = os.Args[1:]
		name = os.Args[0]
	}
	part, found := parts[name]
	if !found {
		fmt.Fprintln(os.Stderr, "usage: control-plane kube-apiserver|kube-controller-manager|kube-proxy|kubectl|new-signing-key [flags]")
		os.Exit(2)
	}
	if name == "kubectl" {
		if err := cli.RunNoErrOutput(part()); err != nil {
			os.Exit(1)
		}
		return
	}
	os.Exit(cli.Run(part()))
}

// newSigningKeyCommand makes the key that the API server signs ServiceAccount tokens with.
func newSigningKeyCommand() *cobra.Command {
	return &cobra.Command{
		Use:  "new-signing-key FILE",
		Args: cobra.ExactArgs(1),
		RunE: func(_ *cobra.Command, arguments []string) error {
			key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
			if err != nil {
				return err
			}
			der, err := x509.MarshalECPrivateKey(key)
			if err != nil {
				return err
			}
			block := pem.EncodeToMemory(&pem.Block{Type: "EC PRIVATE KEY", Bytes: der})
			return os.WriteFile(arguments[0], block, 0o600)
		},
	}
}
