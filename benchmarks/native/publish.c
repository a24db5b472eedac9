/* The broker's limit: publishes one message many times, persistent and mandatory, and awaits every confirm.
 *
 *   publish HOST PORT USER PASSWORD EXCHANGE KEY COUNT WINDOW TYPE MESSAGE_ID CORRELATION_ID APP_ID BODY
 *
 * At most WINDOW messages wait for their confirms. Prints the seconds from the first publish to the last confirm.
 */
#if __has_include(<rabbitmq-c/amqp.h>)
#include <rabbitmq-c/amqp.h>
#include <rabbitmq-c/tcp_socket.h>
#else /* before librabbitmq 0.12 */
#include <amqp.h>
#include <amqp_tcp_socket.h>
#endif
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/time.h>
#include <time.h>

static amqp_connection_state_t connection;

static void fail(const char *what) {
  fprintf(stderr, "publish: %s\n", what);
  exit(1);
}

static void expect(amqp_rpc_reply_t reply, const char *what) {
  if (reply.reply_type != AMQP_RESPONSE_NORMAL) fail(what);
}

static double now_s(void) {
  struct timespec now;
  clock_gettime(CLOCK_MONOTONIC, &now);
  return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

/* The highest tag that is confirmed after the next frame; `confirmed` where no frame came within the timeout.
 * One publisher on one channel gets its confirms from one queue in order, so the highest tag covers all below. */
static uint64_t read_confirm(uint64_t confirmed, struct timeval *timeout) {
  amqp_frame_t frame;
  int status = amqp_simple_wait_frame_noblock(connection, &frame, timeout);
  if (status == AMQP_STATUS_TIMEOUT) return confirmed;
  if (status != AMQP_STATUS_OK) fail(amqp_error_string2(status));
  if (frame.frame_type != AMQP_FRAME_METHOD) return confirmed;
  if (frame.payload.method.id != AMQP_BASIC_ACK_METHOD) fail("the broker refused or returned a message");
  amqp_maybe_release_buffers(connection);
  return ((amqp_basic_ack_t *)frame.payload.method.decoded)->delivery_tag;
}

int main(int count, char **arguments) {
  if (count != 14) fail("thirteen arguments, see the source");
  const uint64_t messages = strtoull(arguments[7], NULL, 10), window = strtoull(arguments[8], NULL, 10);
  const amqp_bytes_t exchange = amqp_cstring_bytes(arguments[5]), key = amqp_cstring_bytes(arguments[6]);
  const amqp_bytes_t body = amqp_cstring_bytes(arguments[13]);
  amqp_basic_properties_t properties = {
      ._flags = AMQP_BASIC_CONTENT_TYPE_FLAG | AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_TYPE_FLAG |
                AMQP_BASIC_MESSAGE_ID_FLAG | AMQP_BASIC_CORRELATION_ID_FLAG | AMQP_BASIC_TIMESTAMP_FLAG |
                AMQP_BASIC_APP_ID_FLAG,
      .content_type = amqp_cstring_bytes("application/json"),
      .delivery_mode = AMQP_DELIVERY_PERSISTENT,
      .type = amqp_cstring_bytes(arguments[9]),
      .message_id = amqp_cstring_bytes(arguments[10]),
      .correlation_id = amqp_cstring_bytes(arguments[11]),
      .timestamp = (uint64_t)time(NULL),
      .app_id = amqp_cstring_bytes(arguments[12]),
  };

  connection = amqp_new_connection();
  amqp_socket_t *socket = amqp_tcp_socket_new(connection);
  if (!socket || amqp_socket_open(socket, arguments[1], atoi(arguments[2]))) fail("cannot connect");
  expect(amqp_login(connection, "/", 0, 131072, 0, AMQP_SASL_METHOD_PLAIN, arguments[3], arguments[4]), "login");
  amqp_channel_open(connection, 1);
  expect(amqp_get_rpc_reply(connection), "channel");
  amqp_confirm_select(connection, 1);
  expect(amqp_get_rpc_reply(connection), "confirm.select");

  struct timeval at_once = {0, 0}, patiently = {30, 0};
  uint64_t published = 0, confirmed = 0;
  const double began_s = now_s();
  while (confirmed < messages) {
    const int full = published == messages || published - confirmed >= window;
    if (!full) {
      if (amqp_basic_publish(connection, 1, exchange, key, 1, 0, &properties, body)) fail("cannot publish");
      published++;
    }
    if (full || published % 64 == 0) {
      const uint64_t before = confirmed;
      confirmed = read_confirm(confirmed, full ? &patiently : &at_once);
      if (full && confirmed == before) fail("no confirm within 30 s");
    }
  }
  printf("%.6f\n", now_s() - began_s);
  amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
  amqp_destroy_connection(connection);
  return 0;
}
