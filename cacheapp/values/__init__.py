"""Field values: what fields hold, gathered from the cluster within a budget; and use counts: what searches ask for."""
