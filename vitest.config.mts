import { defineConfig } from 'vitest/config';

export default defineConfig({
  test: {
    environment: 'node',
    include: ['labextension/src/__tests__/**/*.test.{ts,tsx}']
  }
});
