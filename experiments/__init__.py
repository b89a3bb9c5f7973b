"""The paper's tables and figures as data, with the code that runs and reports them."""
