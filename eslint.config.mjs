import js from '@eslint/js';
import prettier from 'eslint-config-prettier';
import tseslint from 'typescript-eslint';

export default tseslint.config(
  { ignores: ['labextension/lib/**', 'jupyter_ray/**'] },
  js.configs.recommended,
  ...tseslint.configs.strictTypeChecked,
  {
    languageOptions: {
      parserOptions: { project: './tsconfig.json', tsconfigRootDir: import.meta.dirname }
    },
    rules: {
      // A Lumino signal is given the method and its object.
      '@typescript-eslint/unbound-method': 'off',
      '@typescript-eslint/restrict-template-expressions': ['error', { allowNumber: true }],
      'no-restricted-imports': [
        'error',
        { patterns: ['@jupyterlab/application', '@jupyterlab/application/*'] }
      ]
    }
  },
  {
    // The application is known to the plugins only, so that everything else also works in a page without one.
    files: ['labextension/src/plugins/**'],
    rules: { 'no-restricted-imports': 'off' }
  },
  {
    // These are pure: the same calculation in a page, in a worker and in a test.
    files: ['labextension/src/{protocol,reducer,layout}.ts'],
    rules: {
      'no-restricted-globals': ['error', 'document', 'window', 'requestAnimationFrame', 'setTimeout'],
      'no-restricted-imports': ['error', { patterns: ['@jupyterlab/*', '@lumino/*', 'react'] }]
    }
  },
  prettier
);
