"""Attacks from a store's namespace: foreign hosts, exposed Services, privileged pods."""

from tests.support.cluster.attacks.calls import ADMINISTRATOR, PROVISIONER, Attack, apply, create

ON_DOORS: list[Attack] = [
    *(
        Attack(
            f"{title} ({'administrator' if who is ADMINISTRATOR else 'provisioner'})",
            who,
            refusal,
            call,
        )
        for who in (PROVISIONER, ADMINISTRATOR)
        for title, refusal, call in (
            (
                "an Ingress for a foreign host",
                "may serve",
                lambda g: create(g.ingress("bank.example.com")),
            ),
            (
                "an Ingress for a second host",
                "may serve",
                lambda g: create(g.ingress(g.place.host, "other.localhost")),
            ),
            (
                "an Ingress for another store's host",
                "may serve",
                lambda g: create(g.ingress("other.localhost")),
            ),
            ("an Ingress for all hosts", "may serve", lambda g: create(g.ingress(None))),
            ("an Ingress for a wildcard", "may serve", lambda g: create(g.ingress("*.localhost"))),
            (
                "an Ingress with a default backend and a host",
                "",
                lambda g: create(
                    g.ingress(
                        g.place.host,
                        defaultBackend={"service": {"name": "web", "port": {"number": 80}}},
                    )
                ),
            ),
            (
                "an Ingress with no rule",
                "",
                lambda g: create(
                    g.ingress(defaultBackend={"service": {"name": "web", "port": {"number": 80}}})
                ),
            ),
            (
                "a certificate for a foreign host",
                "the TLS hosts",
                lambda g: create(g.ingress(g.place.host, tls=[{"hosts": ["bank.example.com"]}])),
            ),
            (
                "annotations for the ingress controller, on an Ingress",
                "annotations for the ingress controller",
                lambda g: create(
                    g.ingress(
                        g.place.host,
                        annotations={
                            "traefik.ingress.kubernetes.io"
                            "/router.middlewares": "kube-system-auth@kubernetescrd"
                        },
                    )
                ),
            ),
            (
                "a scheduled CronJob",
                "CronJobs must be suspended",
                lambda g: create(g.cron_job(suspend=False)),
            ),
            (
                "a scheduled CronJob, applied",
                "CronJobs must be suspended",
                lambda g: apply(g.cron_job(suspend=False)),
            ),
            (
                "a NodePort Service",
                "of type ClusterIP",
                lambda g: create(g.service(type="NodePort")),
            ),
            (
                "a LoadBalancer Service",
                "of type ClusterIP",
                lambda g: create(g.service(type="LoadBalancer")),
            ),
            (
                "an ExternalName Service",
                "of type ClusterIP",
                lambda g: create(
                    g.object(
                        "v1",
                        "Service",
                        "web",
                        spec={"type": "ExternalName", "externalName": "postgres.storefleet.svc"},
                    )
                ),
            ),
            (
                "a Service with external addresses",
                "must not have external addresses",
                lambda g: create(g.service(externalIPs=["10.0.0.1"])),
            ),
        )
    ),
    *(
        Attack(title, ADMINISTRATOR, "violates PodSecurity", call)
        for title, call in (
            (
                "a pod as root",
                lambda g: create(g.pod(pod={"securityContext": {"runAsUser": 0}})),
            ),
            (
                "a pod with privilege escalation",
                lambda g: create(g.pod(securityContext={"allowPrivilegeEscalation": True})),
            ),
            ("a privileged pod", lambda g: create(g.pod(securityContext={"privileged": True}))),
            (
                "a pod with a hostPath volume",
                lambda g: create(
                    g.pod(pod={"volumes": [{"name": "root", "hostPath": {"path": "/"}}]})
                ),
            ),
            ("a pod with hostNetwork", lambda g: create(g.pod(pod={"hostNetwork": True}))),
            ("a pod with hostPID", lambda g: create(g.pod(pod={"hostPID": True}))),
            (
                "a pod with a capability",
                lambda g: create(g.pod(securityContext={"capabilities": {"add": ["NET_ADMIN"]}})),
            ),
            (
                "a pod without seccomp",
                lambda g: create(
                    g.pod(
                        pod={
                            "securityContext": {
                                "runAsNonRoot": True,
                                "seccompProfile": {"type": "Unconfined"},
                            }
                        }
                    )
                ),
            ),
            (
                "a pod with a hostPort",
                lambda g: create(g.pod(ports=[{"containerPort": 80, "hostPort": 80}])),
            ),
        )
    ),
    Attack(
        "a pod with more than a container may have",
        ADMINISTRATOR,
        "maximum cpu usage per Container",
        lambda g: create(g.pod(resources={"limits": {"cpu": "8"}})),
    ),
    Attack(
        "a pod with more than the store may have",
        ADMINISTRATOR,
        "exceeded quota",
        lambda g: create(
            g.pod(
                pod={
                    "containers": [
                        {
                            **g.pod()["spec"]["containers"][0],
                            "name": f"web-{n}",
                            "resources": {
                                "requests": {"memory": "400Mi"},
                                "limits": {"memory": "512Mi"},
                            },
                        }
                        for n in range(3)
                    ]
                }
            )
        ),
    ),
    Attack(
        "a volume larger than the store may have",
        PROVISIONER,
        "exceeded quota",
        lambda g: create(
            {
                **g.claim(),
                "spec": {
                    "accessModes": ["ReadWriteOnce"],
                    "resources": {"requests": {"storage": "100Gi"}},
                },
            }
        ),
    ),
]
