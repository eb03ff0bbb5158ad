# Runs `parhost worker` as a Nomad service: the nodes of pool default.
#
# Change the address of the cluster, the number of workers (count) and their resources. The secrets come from a Nomad variable, which you write once from
# files that you have:
#   nomad var put nomad/jobs/parhost-worker key=@key cert=@cert.pem cert_key=@key.pem ca=@ca.pem
#
# The driver is raw_exec, which has to be enabled on the clients, because the workers make a sandbox of their own: the exec driver would be a second one
# around it. With raw_exec, parhost and plugins without a sandbox run as the user of the Nomad client. By need: nomad job scale parhost-worker node N, with
# N from parhost queue --json.

job "parhost-worker" {
  datacenters = ["*"]
  type        = "service"

  constraint {
    attribute = "${attr.kernel.name}"
    value     = "linux"
  }

  group "node" {
    count = 2

    # Such a worker has its batches run again elsewhere, whatever happens to it.
    restart {
      attempts = 5
      interval = "5m"
      delay    = "5s"
      mode     = "delay"
    }

    task "worker" {
      driver = "raw_exec"

      # SIGTERM lets batches end within --grace. Nomad sends SIGKILL after kill_timeout, which has to be longer, and is never longer than the client's
      # max_kill_timeout: 30 seconds if its configuration says nothing.
      kill_signal  = "SIGTERM"
      kill_timeout = "30s"

      config {
        command = "/usr/local/bin/parhost"
        args = [
          "worker",
          "--cluster", "tls://10.0.0.1:4222",
          "--pool", "default",
          "--name", "${node.unique.name}-${NOMAD_ALLOC_INDEX}",
          "--procs", "2",
          "--key", "${NOMAD_SECRETS_DIR}/key",
          "--tls-cert", "${NOMAD_SECRETS_DIR}/cert.pem",
          "--tls-key", "${NOMAD_SECRETS_DIR}/key.pem",
          "--tls-ca", "${NOMAD_SECRETS_DIR}/ca.pem",
          "--sandbox", "strict",
          "--memory", "512MiB",
          "--grace", "20s",
        ]
      }

      # Uploaded plugins are kept here.
      env {
        XDG_CACHE_HOME = "${NOMAD_TASK_DIR}/cache"
      }

      template {
        data        = "{{ with nomadVar \"nomad/jobs/parhost-worker\" }}{{ .key }}{{ end }}"
        destination = "secrets/key"
        perms       = "0600"
      }

      template {
        data        = "{{ with nomadVar \"nomad/jobs/parhost-worker\" }}{{ .cert }}{{ end }}"
        destination = "secrets/cert.pem"
      }

      template {
        data        = "{{ with nomadVar \"nomad/jobs/parhost-worker\" }}{{ .cert_key }}{{ end }}"
        destination = "secrets/key.pem"
        perms       = "0600"
      }

      template {
        data        = "{{ with nomadVar \"nomad/jobs/parhost-worker\" }}{{ .ca }}{{ end }}"
        destination = "secrets/ca.pem"
      }

      resources {
        cpu    = 2000
        memory = 1536
      }
    }
  }
}
