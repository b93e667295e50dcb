// An echo over WebSocket. Says on which port it listens, and closes with 4001 when asked to.
const { WebSocketServer } = require('ws');

const server = new WebSocketServer(
  { host: '127.0.0.1', port: 0, maxPayload: 0, perMessageDeflate: true },
  () => console.log(server.address().port),
);
server.on('connection', (connection) => {
  connection.on('message', (data, binary) => {
    if (!binary && data.toString() === 'close') connection.close(4001, 'asked');
    else connection.send(data, { binary });
  });
});
