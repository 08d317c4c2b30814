package controlplane

import (
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/fedhelm/fedhelm/pkg/federatedtypes"
	"github.com/fedhelm/fedhelm/pkg/values"
)

// Objects of a type whose controller is turned off get no finalizer, which nobody would take off.
func TestPlacedTypes(t *testing.T) {
	names := func(flag, text string) (all []string) {
		h := Hook{Values: values.DefaultControlPlane()}
		h.Values.ControllerManager.ArgOverrides = map[string]values.Argument{flag: {Text: &text}}
		for _, placed := range h.placed(federatedtypes.Defaults()) {
			all = append(all, placed.Name())
		}
		return all
	}
	require.Len(t, names("v", "4"), len(federatedtypes.Defaults()))
	for _, flag := range []string{"controllers", "--controllers"} {
		left := names(flag, "services=false,cluster-dns=false,secrets=true")
		require.Len(t, left, len(federatedtypes.Defaults())-1)
		require.NotContains(t, left, "services")
		require.Contains(t, left, "secrets")
	}
	require.Len(t, names("controllers", "services"), len(federatedtypes.Defaults()), "the controllers refuse that too")
}

// What the controllers would refuse, in a pod that starts again and again, the first hook refuses.
func TestCheckControllers(t *testing.T) {
	with := func(change func(*values.ControllerManager)) error {
		h := Hook{Values: values.DefaultControlPlane()}
		change(&h.Values.ControllerManager)
		return h.checkControllers()
	}
	require.NoError(t, with(func(*values.ControllerManager) {}))
	require.ErrorContains(t, with(func(c *values.ControllerManager) { c.FederatedTypes = []string{"rings"} }), `controllerManager.federatedTypes: federated type "rings" is not of the form group/version/resource`)
	require.EqualError(t, with(func(c *values.ControllerManager) { c.ClusterMonitorPeriod = "100ms" }), `controllerManager.clusterMonitorPeriod is "100ms": give a time of 1s or more`)
}
