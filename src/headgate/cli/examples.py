"""What `--help` teaches below the flags: examples, and what the exit status means."""

HEADGATE = """\
examples:
  headgate up examples/lora-multi-model          run the manifests of a directory on this machine
  headgate check manifests/                      what is wrong with these files?
  headgate get endpoints -o json                 of the system that runs
  headgate explain 3f2a1b-7                      why did that request go where it went?

Manifests are those that you would give to `kubectl apply -f`.
headgate COMMAND --help says more. Exit status: 0 all is well, 1 it is not, 2 the command line can't be understood.
"""

UP = """\
examples:
  headgate up manifests/                         every .yaml, .yml and .json file in it (-R: and below it)
  headgate up -f gateway.yaml -f pods.yaml       as kubectl writes it
  kustomize build overlay | headgate up -        from standard input
  headgate up manifests/ --engine sim            never a real vLLM
  headgate up manifests/ --data-plane envoy      requests go through an Envoy, which headgate runs
  headgate up manifests/ --name two --address 127.0.0.2 --metrics off      a second one on this machine

Files are followed: what you edit is in force within two seconds, and no request is lost.
Exit status: 0 stopped by Ctrl-C or a signal, 1 there was nothing to run or no address to serve it at.
"""

GATEWAY = """\
A server that runs already is written as a Pod: its labels, and where it is.

  apiVersion: v1
  kind: Pod
  metadata:
    name: gpu-box-1
    labels: {app: vllm}
    annotations: {headgate.dev/address: "10.0.0.7:8000"}

examples:
  headgate gateway --config manifests/ --address 0.0.0.0
  headgate gateway --config manifests/ --access-log off --metrics 127.0.0.1:9100
  headgate gateway --config manifests/ --workers 4           four processes, one gateway
  headgate gateway --config manifests/ --take-over           a new version, in place of the one that runs
  headgate gateway --kubernetes --service headgate           in a Pod, by its service account
  headgate gateway --kubernetes --kubeconfig ~/.kube/config --context kind --namespace prod --address 127.0.0.1
"""

CHECK = """\
examples:
  headgate check manifests/
  headgate check -R . -o json
  helm template chart | headgate check -

One line for each mistake: file:line: field: what is wrong, what to write instead. A [warning] is used as it is said
there, a [note] has no effect here. Statuses follow: routes that attach to nothing, references that lead nowhere.
Exit status: 0 nothing is wrong, 1 something is.
"""

RENDER = """\
examples:
  headgate render envoy manifests/ > envoy.yaml         one file, for envoy -c envoy.yaml
  headgate render envoy manifests/ -o /etc/envoy        bootstrap.yaml, and files that Envoy follows
  headgate render envoy manifests/ | envoy --mode validate -c /dev/stdin

Routes stand in the order in which they are tried. What needs no look at a request's body Envoy does by itself. For the
rest (models, API keys, sessions, the choice of an endpoint) it asks a processor: headgate up --data-plane envoy runs
both, and keeps the files current. Endpoints are the Pods that have the annotation headgate.dev/address.
Private keys are not printed: with -o they are written to FOLDER/secrets, for you alone.
Exit status: 0 every object could be read, 1 some could not.
"""

TRANSLATE = """\
examples:
  headgate translate manifests/
  headgate translate manifests/ -o json | jq .plan.pools

Exit status: 0 every object could be read, 1 some could not.
"""

CRDS = """\
examples:
  headgate crds | kubectl apply -f -             before Gateways and InferencePools can be applied
  headgate crds --gke | kubectl apply -f -       with GKE's policies, on a cluster that is not GKE
  headgate crds --no-rules | kubectl apply -f -  on Kubernetes 1.24 and older

Clusters whose provider brings these kinds (GKE, or the Gateway API's own release files) need none of it.
"""

GET = """\
examples:
  headgate get                                   everything
  headgate get endpoints
  headgate get gateways -o json | jq -r '.[0].url'
  headgate get pods --name two                   of another instance
  headgate get shadow                            how the policy of --shadow-config differs from the one that counts

JSON and YAML are a list of rows for one kind, and lists by kind for all. Exit status: 1 where none runs.
"""

EXPLAIN = """\
examples:
  curl -si http://127.0.0.1:8080/v1/models | grep x-request-id
  headgate explain 3f2a1b-7
  headgate explain 3f2a1b-7 -o json | jq '.decisions[0].candidates'
  headgate explain 3f2a1b-7 --what-if my-picker.yaml         what would that policy have chosen?

The last 4,096 requests are known. Exit status: 1 where the request is not, or no headgate runs.
"""

BENCH = """\
examples:
  headgate bench                                               every workload, with every policy that has a name
  headgate bench multi-lora --policies default,my-picker.yaml  yours beside the one that is there without a file
  headgate bench chat --rate 200 --endpoints 4 -o json
  headgate bench --trace access.log --speed 2                  recorded traffic: Mooncake, ShareGPT, guidellm, ours
  headgate bench bursts diurnal --plot out.html                drawn, too
  headgate bench find-capacity rag --price 2.5                 the highest rate, the fewest endpoints, what tokens cost

The gateway's own code chooses, among servers that are simulated. Time is virtual: the same seed gives the same figures.
docs/rehearsals.md says what the workloads are, and what the servers' times are reckoned from.
"""
