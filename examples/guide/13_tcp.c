/* SPDX-License-Identifier: MIT */
/* Sockets: one process accepts, one process serves each connection. */
#include "example.h"

#include <string.h>

/* guide: serve */
static void serve(rusm_tcp *conn)
{
    char buf[256];
    size_t len;

    for (;;) {
        must(rusm_tcp_read(conn, buf, sizeof(buf), RUSM_INFINITY, &len), "read");
        if (len == 0) {
            return; /* the other end has closed; the connection is closed with this process */
        }
        must(rusm_tcp_write(conn, buf, len, EXAMPLE_WAIT_MS, NULL), "write");
    }
}
/* guide end */

/* guide: accept */
static void acceptor(void *arg)
{
    rusm_tcp *listener, *conn;
    char address[64];

    (void)arg;
    must(rusm_tcp_listen(&listener, "127.0.0.1:0"), "listen");
    (void)rusm_tcp_address(listener, address, sizeof(address));
    must(rusm_send_name("main", address, strlen(address) + 1), "tell the address");
    while (rusm_tcp_accept(listener, RUSM_INFINITY, &conn) == RUSM_OK) {
        if (rusm_tcp_spawn(conn, serve, NULL, NULL) != RUSM_OK) {
            rusm_tcp_close(conn); /* too many processes: this one client is not served */
        }
    }
}
/* guide end */

/* guide: client */
static void talk(const char *address)
{
    char answer[5];
    rusm_tcp *conn;
    size_t len;

    must(rusm_tcp_connect(&conn, address, EXAMPLE_WAIT_MS), "connect");
    must(rusm_tcp_write(conn, "hello", 5, EXAMPLE_WAIT_MS, NULL), "write");
    must(rusm_tcp_read_exact(conn, answer, sizeof(answer), EXAMPLE_WAIT_MS), "read");
    printf("the answer is %.5s\n", answer);
    must(rusm_tcp_shutdown(conn), "say that no more comes");
    must(rusm_tcp_read(conn, answer, sizeof(answer), EXAMPLE_WAIT_MS, &len), "read");
    printf("closed by the server: %s\n", len == 0 ? "yes" : "no");
    rusm_tcp_close(conn);
}
/* guide end */

int main(void)
{
    rusm_runtime *runtime;
    rusm_msg *msg;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    must(rusm_thread_enter(runtime, "main"), "enter the runtime");
    must(rusm_register(NULL, "main", rusm_self()), "register");
    must(rusm_spawn(NULL, acceptor, NULL, NULL), "spawn");
    must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "receive the address");
    talk(rusm_msg_data(msg));
    rusm_msg_del(msg);
    rusm_thread_leave();
    rusm_runtime_del(runtime);
    return 0;
}
