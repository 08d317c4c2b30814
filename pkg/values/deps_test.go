package values

// Keeps the requirements in go.mod until the packages that need them exist.
import (
 _ "helm.sh/helm/v3/pkg/engine"
 _ "helm.sh/helm/v3/pkg/chart/loader"
 _ "helm.sh/helm/v3/pkg/action"
 _ "sigs.k8s.io/controller-runtime"
 _ "github.com/Masterminds/sprig/v3"
 _ "github.com/spf13/cobra"
 _ "github.com/stretchr/testify/require"
 _ "github.com/invopop/jsonschema"
 _ "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
 _ "sigs.k8s.io/yaml"
 _ "go.yaml.in/yaml/v3"
)
