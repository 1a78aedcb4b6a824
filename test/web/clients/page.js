// A small page, which bundlers build.
import { WsBridge } from 'ws-bridge';

const robot = new WsBridge('ws://robot/', { name: 'built' });
robot.on('error', ({ code }) => globalThis.errors.push(code));
globalThis.end = () => robot.close();
robot.connect().then((hello) => {
  globalThis.hello = hello.robot;
});
