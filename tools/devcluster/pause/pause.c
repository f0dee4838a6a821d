/* Keep a pod's namespaces open: sleep, and reap orphans when the pod's containers share its PID namespace. */
#include <signal.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void handle_stop(int number) {
    (void)number;
    _exit(0);
}

static void reap_children(int number) {
    (void)number;
    while (waitpid(-1, NULL, WNOHANG) > 0) {
    }
}

int main(void) {
    signal(SIGINT, handle_stop);
    signal(SIGTERM, handle_stop);
    signal(SIGCHLD, reap_children);
    for (;;) {
        pause();
    }
}
