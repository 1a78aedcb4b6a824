// What eslint holds the web client and the page to: errors, no matters of taste.
import js from '@eslint/js';
import globals from 'globals';

export default [
  js.configs.recommended,
  { languageOptions: { ecmaVersion: 2022, sourceType: 'module', globals: globals.browser } },
  { files: ['**/heartbeat_worker.js'], languageOptions: { globals: globals.worker } },
];
