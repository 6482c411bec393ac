// Preloaded by `node -r`: every TCP server listens on 127.0.0.1, for programs that have no setting for it.
'use strict';
const net = require('net');

const listen = net.Server.prototype.listen;
net.Server.prototype.listen = function (first, ...rest) {
  if (first !== null && typeof first === 'object' && 'port' in first) {
    return listen.call(this, { ...first, host: '127.0.0.1' }, ...rest);
  }
  if (Number.isInteger(Number(first)) && typeof first !== 'function') {
    // listen(port[, host][, backlog][, callback])
    const after = typeof rest[0] === 'string' ? rest.slice(1) : rest;
    return listen.call(this, Number(first), '127.0.0.1', ...after);
  }
  return listen.call(this, first, ...rest);
};
