/* SPDX-License-Identifier: MIT */
/*
 * A TCP server in the usual shape: one process accepts, and gives each connection to a process of
 * its own, which is plain blocking code. Twenty clients, processes too, talk to it at once. One of
 * them asks for a crash: that ends the process that serves it, its connection, and nothing else.
 */
#include "example.h"

#include <string.h>

#define CLIENTS 20
#define LINES   5

/* What a client found. */
struct result {
    int number;
    int echoed; /* lines that came back as they were */
    bool lost;  /* the server closed on it */
};

struct client {
    int number;
    rusm_pid parent;
    char address[64];
};

/* One connection: send back what comes, until the other end closes. */
static void serve(rusm_tcp *conn)
{
    char buf[256];
    size_t len;

    for (;;) {
        must(rusm_tcp_read(conn, buf, sizeof(buf), EXAMPLE_WAIT_MS, &len), "read");
        if (len == 0) {
            return; /* the connection is closed with the process */
        }
        if (memchr(buf, '!', len) != NULL) {
            rusm_crash("the client wanted it");
        }
        must(rusm_tcp_write(conn, buf, len, EXAMPLE_WAIT_MS, NULL), "write");
    }
}

/* Listen, say where, and give every connection a process. */
static void accept_all(void *arg)
{
    const rusm_pid *parent = arg;
    rusm_tcp *listener, *conn;
    char address[64];

    must(rusm_tcp_listen(&listener, "127.0.0.1:0"), "listen");
    (void)rusm_tcp_address(listener, address, sizeof(address));
    must(rusm_send(*parent, address, sizeof(address)), "tell the address");
    for (;;) {
        must(rusm_tcp_accept(listener, RUSM_INFINITY, &conn), "accept");
        must(rusm_tcp_spawn(conn, serve, NULL, NULL), "spawn");
    }
}

/* Whether a line comes back; false if the connection is lost. */
static bool echo(rusm_tcp *conn, const char *line)
{
    size_t len = strlen(line);
    char back[64];

    if (rusm_tcp_write(conn, line, len, EXAMPLE_WAIT_MS, NULL) != RUSM_OK ||
        rusm_tcp_read_exact(conn, back, len, EXAMPLE_WAIT_MS) != RUSM_OK) {
        return false;
    }
    return memcmp(line, back, len) == 0;
}

static void client_main(void *arg)
{
    const struct client *client = arg;
    struct result result = {client->number, 0, false};
    char line[64];
    rusm_tcp *conn;

    must(rusm_tcp_connect(&conn, client->address, EXAMPLE_WAIT_MS), "connect");
    for (int i = 1; i <= LINES && !result.lost; i++) {
        (void)snprintf(line, sizeof(line), "client %d, line %d%s\n", client->number, i,
                       client->number == 13 && i == 3 ? "!" : "");
        if (echo(conn, line)) {
            result.echoed++;
        } else {
            result.lost = true;
        }
    }
    must(rusm_send(client->parent, &result, sizeof(result)), "report");
}

/* Take the next message, which has len bytes. */
static void receive(void *out, size_t len)
{
    rusm_msg *msg;

    must(rusm_receive(&msg, EXAMPLE_WAIT_MS), "receive");
    memcpy(out, rusm_msg_data(msg), len);
    rusm_msg_del(msg);
}

int main(void)
{
    static struct client clients[CLIENTS];
    rusm_runtime *runtime;
    rusm_pid self;
    char address[64];
    int lines = 0;

    must(rusm_runtime_new(&runtime, NULL), "start a runtime");
    must(rusm_thread_enter(runtime, "main"), "enter the runtime");
    self = rusm_self();
    must(rusm_spawn(NULL, accept_all, &self, NULL), "spawn the acceptor");
    receive(address, sizeof(address));
    for (int i = 0; i < CLIENTS; i++) {
        clients[i] = (struct client){.number = i, .parent = self};
        memcpy(clients[i].address, address, sizeof(address));
        must(rusm_spawn(NULL, client_main, &clients[i], NULL), "spawn a client");
    }
    for (int i = 0; i < CLIENTS; i++) {
        struct result result;

        receive(&result, sizeof(result));
        lines += result.echoed;
        if (result.lost) {
            printf("client %d lost its connection after %d lines\n", result.number, result.echoed);
        }
    }
    printf("%d clients, %d lines echoed\n", CLIENTS, lines);
    rusm_thread_leave();
    rusm_runtime_del(runtime); /* ends the acceptor, and closes its socket */
    return 0;
}
