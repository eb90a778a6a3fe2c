"""Takes what Alertmanager tells and says it in WeCom (企业微信), once; a process of its own."""
